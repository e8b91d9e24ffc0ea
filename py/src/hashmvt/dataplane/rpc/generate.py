# SPDX-License-Identifier: Apache-2.0
"""Generates ``dataplane_pb2.py`` and ``.pyi`` from ``dataplane.proto``.

Run as ``python -m hashmvt.dataplane.rpc.generate`` after a change of the .proto file, with the
oldest grpcio-tools whose output the protobuf bound in ``pyproject.toml`` allows (1.76 makes code
for protobuf 6.31 and later).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[2]
STUB_HEAD = '# mypy: disable-error-code="type-arg"\n'  # protoc leaves Mapping without arguments


def main() -> None:
    """Run the compiler."""
    proto = HERE / "dataplane.proto"
    compiler = [sys.executable, "-m", "grpc_tools.protoc"]
    places = [f"-I{SOURCES}", f"--python_out={SOURCES}", f"--pyi_out={SOURCES}"]
    subprocess.run([*compiler, *places, str(proto)], check=True)  # noqa: S603
    stub = HERE / "dataplane_pb2.pyi"
    stub.write_text(STUB_HEAD + stub.read_text("utf-8"), "utf-8")


if __name__ == "__main__":
    main()
