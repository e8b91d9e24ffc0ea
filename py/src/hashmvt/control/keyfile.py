# SPDX-License-Identifier: Apache-2.0
"""The secret that authenticates heartbeats: one file, the same on every host.

The file is text or bytes, at least 32 of them after surrounding whitespace is taken off, owned by
the user who runs the programs (or root), and closed to group and others.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import TYPE_CHECKING

from hashmvt.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

MIN_BYTES = 32
MAX_BYTES = 4096


def load_key(path: Path) -> bytes:
    """Read the key.

    Raises:
        ConfigError: the file is missing, is no plain file, may be read by others, belongs to
            somebody else, or is too short or too long to be a key.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        remedy = f"make one with: (umask 077; openssl rand -hex 32 > {path})"
        raise _error(path, f"key file cannot be read: {error.strerror}", remedy) from None
    try:
        _check(path, os.fstat(descriptor))
        key = os.read(descriptor, MAX_BYTES + 1).strip()
    finally:
        os.close(descriptor)
    if not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise _error(
            path,
            f"key of {len(key)} bytes",
            f"write {MIN_BYTES} to {MAX_BYTES} bytes, such as from: openssl rand -hex 32",
        )
    return key


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _error(path, "key file is no plain file", "name a file that holds the key")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise _error(path, f"key file is open to others (mode {mode:04o})", f"chmod 600 {path}")
    if status.st_uid not in {0, os.geteuid()}:
        raise _error(
            path, f"key file belongs to user {status.st_uid}", "let its user or root own it"
        )


def create_key(path: Path) -> bool:
    """Write a new random key unless the file exists; False when it does.

    The file appears whole or not at all, so that two programs that start together read one key.

    Raises:
        ConfigError: the directory is missing or may not be written.

    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(MIN_BYTES) + "\n")
            os.link(draft, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
    except FileExistsError:
        return False
    except OSError as error:
        raise _error(
            path, f"key file cannot be made: {error.strerror}", "name a directory that is writable"
        ) from None
    return True


def _error(path: Path, reason: str, remedy: str) -> ConfigError:
    return ConfigError(path, (Problem(path, 0, reason, remedy),))
