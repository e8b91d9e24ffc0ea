# SPDX-License-Identifier: Apache-2.0
"""DPDK's tables for the experiments (plugin/bench/dpdk.c), where pkg-config finds DPDK."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from cffi import FFI

_PLUGIN = Path(__file__).resolve().parents[4] / "plugin"
_LIBRARIES = ("rte_eal", "rte_fib", "rte_hash")

_DECLARATIONS = """
int bench_dpdk_start (int huge_pages);
const char *bench_dpdk_version (void);
typedef struct { ...; } bench_matcher_t;
typedef struct { ...; } bench_exact_t;
const bench_matcher_t *bench_dpdk_fib (int bulk);
const bench_exact_t *bench_dpdk_hash (void);
"""


def _flags() -> list[str] | None:
    """Return the compiler's flags for DPDK; None when DPDK is not installed for development."""
    command = [shutil.which("pkg-config") or "pkg-config", "--cflags", "libdpdk"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.split()


FLAGS = _flags()
ffibuilder = FFI()
ffibuilder.cdef(_DECLARATIONS)
ffibuilder.set_source(
    "hashmvt._ffi._dpdk",
    (_PLUGIN / "bench" / "dpdk.c").read_text(encoding="utf-8"),
    include_dirs=[str(_PLUGIN / folder) for folder in ("bench", "mvt")],
    extra_compile_args=["-std=gnu11", *(FLAGS or ())],
    libraries=list(_LIBRARIES),
    py_limited_api=False,
)
