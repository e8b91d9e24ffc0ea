# SPDX-License-Identifier: Apache-2.0
"""Builds the bindings: the C libraries by CMake, then the cffi extensions that hold them whole.

CMake's flags are the ones that the C tests run with, so Python gets the code that was tested. The
extension links the static libraries; a wheel needs nothing but libpcap at run time.
"""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent
NATIVE = HERE / "build" / "native"


class BuildBinding(build_ext):
    """``build_ext`` that builds the static libraries first and links afresh."""

    def run(self) -> None:
        cmake = shutil.which("cmake")
        if cmake is None:
            sys.exit("cmake is missing: install it (Debian: apt install cmake) and try again")
        if not (SOURCE / "plugin" / "engine").is_dir():
            sys.exit("the C sources are missing: install from a checkout of the repository")
        options = ["-DHASHMVT_WITH_TESTS=OFF", "-DHASHMVT_WITH_VPP=OFF"]
        subprocess.run([cmake, "-S", SOURCE, "-B", NATIVE, *options], check=True)
        jobs = os.environ.get("HASHMVT_JOBS", str(os.cpu_count() or 1))
        subprocess.run(
            [cmake, "--build", NATIVE, "--target", "mvt_bench", "--parallel", jobs], check=True
        )
        self.force = True  # the libraries are no sources that setuptools would compare
        super().run()


# what an older build left behind would go into the wheel beside what replaced it
for stale in (HERE / "build").glob("lib*"):
    shutil.rmtree(stale)

# before packages are collected, so that names.py in the result is the headers'
_GENERATE = runpy.run_path(str(HERE / "src" / "hashmvt" / "_ffi" / "generate.py"))
_GENERATE["write_if_changed"](SOURCE / "plugin" / "mvt", HERE / "src" / "hashmvt" / "names.py")

_FFI = "src/hashmvt/_ffi"
_DPDK = runpy.run_path(str(HERE / _FFI / "build_dpdk.py"))

setup(
    cffi_modules=[
        f"{_FFI}/build.py:ffibuilder",
        f"{_FFI}/build_bench.py:ffibuilder",
        *([f"{_FFI}/build_dpdk.py:ffibuilder"] if _DPDK["FLAGS"] is not None else ()),
    ],
    cmdclass={"build_ext": BuildBinding},
)
