# SPDX-License-Identifier: Apache-2.0
"""``EmbeddedDataplane``: an engine as ``Dataplane``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hashmvt.dataplane.embedded.engine import Engine
from hashmvt.dataplane.threaded import ThreadedDataplane

if TYPE_CHECKING:
    from typing import Self

    from hashmvt.dataplane.embedded.settings import EngineSettings


class EmbeddedDataplane(ThreadedDataplane):
    """The dataplane of machines without VPP. Made by ``open``, ended by ``aclose``.

    What travels in the engine's rings when it is closed is finished first.
    """

    @classmethod
    async def open(cls, settings: EngineSettings) -> Self:
        """Create an engine and start it.

        Raises:
            Rejected: the core refused, with its sentence.

        """
        return cls(*await cls.started(partial(Engine, settings), "hashmvt-engine"))

    @property
    def engine(self) -> Engine:
        """The engine itself, for what measures it. Its calls belong to this dataplane's thread."""
        assert isinstance(self._nat, Engine)  # noqa: S101 - `open` made it
        return self._nat
