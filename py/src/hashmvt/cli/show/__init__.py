# SPDX-License-Identifier: Apache-2.0
"""``hashmvt show``: what a running agent or coordinator does."""

from hashmvt.cli.show.commands import command

__all__ = ["command"]
