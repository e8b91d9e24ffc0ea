# SPDX-License-Identifier: Apache-2.0
"""DPDK's tables, where HashMVT was built with DPDK: an optional part of the comparison."""

from __future__ import annotations

import importlib
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashmvt._ffi._bench import ffi
from hashmvt.errors import HashMvtError

if TYPE_CHECKING:
    from hashmvt._ffi._mvt import CData

_FREE_HUGE = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
_ENOUGH = 400
"""Pages of 2 MiB that its tables of a million prefixes and of a million flows take."""


class MissingError(HashMvtError):
    """DPDK cannot be measured here; the message says what to do."""


@cache
def _started() -> Any:
    """Start DPDK's environment, once per process."""
    try:
        dpdk = importlib.import_module("hashmvt._ffi._dpdk")
    except ImportError:
        raise MissingError(
            "built without DPDK: install libdpdk-dev and pkg-config, then make build"
        ) from None
    code = dpdk.lib.bench_dpdk_start(huge_pages())
    if code < 0:
        raise MissingError(f"DPDK does not start: {os.strerror(-code).lower()}")
    return dpdk


@cache
def huge_pages() -> bool:
    """Does DPDK get huge pages, as HashMVT's own tables do? Decided once."""
    try:
        return int(_FREE_HUGE.read_text(encoding="ascii")) >= _ENOUGH
    except (OSError, ValueError):
        return False


def version() -> str:
    """Return DPDK's version.

    Raises:
        MissingError: it is not there.

    """
    dpdk = _started()
    text: bytes = dpdk.ffi.string(dpdk.lib.bench_dpdk_version())
    return text.decode()


def fib(*, bulk: bool) -> CData:
    """Return DIR-24-8 as a ``bench_matcher_t *``; raises MissingError."""
    dpdk = _started()
    return _ours("bench_matcher_t *", dpdk, dpdk.lib.bench_dpdk_fib(bulk))


def exact() -> CData:
    """Return ``rte_hash`` as a ``bench_exact_t *``; raises MissingError."""
    dpdk = _started()
    return _ours("bench_exact_t *", dpdk, dpdk.lib.bench_dpdk_hash())


def _ours(kind: str, dpdk: Any, pointer: CData) -> CData:
    """Two bindings, one C type: the address goes from one to the other."""
    return ffi.cast(kind, int(dpdk.ffi.cast("uintptr_t", pointer)))
