# SPDX-License-Identifier: Apache-2.0
"""A place that leaves nothing behind, whatever happens to us.

The demonstration runs as the first process of a PID namespace with mount and network namespaces
of its own. When that process ends, in whatever way, the kernel ends everything in it, and with the
last process go devices, named network namespaces and files (``/run`` and ``/dev/shm`` are private).
No name is visible from outside, so any number of runs may go on side by side.

The outer process only waits and passes signals on; should it be killed, so is the inner one.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from types import FrameType

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

_OWN = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
READER_LEFT = 128 + signal.SIGPIPE
"""The exit code when nobody reads our output any more, as a shell says it."""
_libc = ctypes.CDLL(None, use_errno=True)


class Interrupted(KeyboardInterrupt):
    """Somebody asked us to stop; asyncio lets only this family through."""


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def _mount(kind: str, target: str, flags: int, options: str | None = None) -> None:
    data = options.encode() if options else None
    _check(_libc.mount(kind.encode(), target.encode(), kind.encode(), flags, data), target)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _enter() -> None:
    """Become the first process of the sandbox."""
    die_with_parent()
    os.setsid()
    _own_mounts()
    _mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _own_mounts() -> None:
    """Namespaces of our own; nothing that is mounted from here on is seen outside."""
    _unshare(_OWN)
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount / (a chroot?)")
    _mount("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755")
    _mount("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777")  # noqa: S108 - of its own


def _make_tun() -> None:
    """Make a TUN device that is gone at once."""
    with open("/dev/net/tun", "r+b", buffering=0) as file:  # noqa: PTH123
        request = struct.pack("16sH22x", b"probe", IFF_TUN | IFF_NO_PI)
        fcntl.ioctl(file, TUNSETIFF, request)


def why_not(*, tun: bool = True) -> str | None:
    """Why this process cannot have a sandbox (with TUN devices), or None when it can."""
    if os.geteuid() != 0:
        return "not root"
    if shutil.which("ip") is None:
        return "ip is missing: install iproute2"
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            _unshare(CLONE_NEWPID)
            _own_mounts()
            if tun:
                _make_tun()
        except OSError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        reason = pipe.read().decode()
    os.waitpid(child, 0)
    return reason or None


def run(inner: Callable[[], int]) -> int:
    """Run ``inner`` in a sandbox of its own and return its exit code.

    Args:
        inner: is interrupted by ``Interrupted`` on the first signal to the caller, killed on the
            second.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    _unshare(CLONE_NEWPID)  # of the next child, which becomes its first process
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        _first_process(inner)

    caught: list[int] = []

    def forward(signum: int, _frame: FrameType | None) -> None:
        caught.append(signum)
        os.kill(child, signal.SIGTERM if len(caught) == 1 else signal.SIGKILL)

    for number in _FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    _, status = os.waitpid(child, 0)
    for number in _FORWARDED:
        signal.signal(number, signal.SIG_DFL)
    if caught:
        return 128 + caught[0]
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _first_process(inner: Callable[[], int]) -> None:
    """Never returns."""
    code = 1

    def stop(_signum: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: let the clean-up work
        raise Interrupted

    try:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _enter()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        code = inner()
    except Interrupted:
        code = 130
    except BrokenPipeError:
        code = READER_LEFT
    except BaseException:  # noqa: BLE001 - the last line of a process; everything is reported
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.flush()
        os._exit(code)
