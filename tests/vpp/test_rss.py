# SPDX-License-Identifier: Apache-2.0
"""Receive queues of an interface whose driver can choose them: a plugin of the tests has one.

No interface that VPP can make without a card can: for those ``test_show.py`` has the refusal.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hashmvt.private_vpp import find_installation
from vpp import PLUGINS, ROOT, Vpp

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_name("rss_device_plugin.c")
INVALID_QUEUE, REFUSED_BY_DRIVER = -125, -11


@pytest.fixture(scope="module")
def vpp() -> Iterator[Vpp]:
    """Run a VPP with that plugin, built for it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    directory = Path(f"/tmp/hmvt-{os.getpid()}-rss")
    directory.mkdir()
    program = shutil.which(os.environ.get("HASHMVT_VPP", "vpp"))
    assert program is not None
    include = Path(program).resolve().parents[1] / "include"
    target = directory / "rss_device_plugin.so"
    machine = ["-march=x86-64-v2"] if platform.machine() == "x86_64" else []
    flags = ["-O1", *machine, "-shared", "-fPIC", "-fno-common", "-I", str(include)]
    subprocess.run([compiler, *flags, str(SOURCE), "-o", str(target)], check=True)
    vpp = Vpp(directory, plugins=(*PLUGINS, "rss_device"))
    # VPP adds one path to its own
    ours = find_installation(ROOT).ours
    (directory / "hashmvt_plugin.so").symlink_to(ours / "hashmvt_plugin.so")
    vpp.startup = vpp.startup.replace(f"add-path {ours}\n", f"add-path {directory}\n")
    vpp.start(lambda _: None)
    yield vpp
    vpp.end()


def test_queues_that_the_driver_takes(vpp: Vpp) -> None:
    """Some, then all; what the interface has not or the driver refuses changes nothing."""
    api, sw = vpp.api, int(vpp.cli("create rss-device"))

    def have() -> tuple[int, int]:
        reply = api.hashmvt_rss_queues_get(sw_if_index=sw)
        assert reply.retval == 0
        return reply.n_queues, reply.queues

    assert have() == (4, 0)
    assert api.hashmvt_rss_queues_set(sw_if_index=sw, queues=0b0101).retval == 0
    assert have() == (4, 0b0101)
    for queues, retval in ((0b10001, INVALID_QUEUE), (0b1000, REFUSED_BY_DRIVER)):
        assert api.hashmvt_rss_queues_set(sw_if_index=sw, queues=queues).retval == retval
        assert have() == (4, 0b0101)
    assert api.hashmvt_rss_queues_set(sw_if_index=sw, queues=0).retval == 0
    assert have() == (4, 0b1111)
