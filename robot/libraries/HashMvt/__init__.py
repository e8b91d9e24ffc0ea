# SPDX-License-Identifier: Apache-2.0  # noqa: N999
"""The Robot Framework library of HashMVT.

``Library    HashMvt    dataplane=${DATAPLANE}`` gives the suites typed keywords over any dataplane.
Logic lives here, in Python that is type-checked and tested; suites say what must hold. One class
per topic (``lifecycle``, ``traffic``, ``outcomes``, ``state``, ``scaling``, ``coordination``,
``commands``), all on one ``Testbed``; ``driver`` is all that they need of a dataplane.

The library is made once per suite file, its dataplane once per test.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from robot.api.deco import library

from HashMvt.commands import Commands
from HashMvt.coordination import Coordination
from HashMvt.driver import DataplaneDriver
from HashMvt.lifecycle import Lifecycle
from HashMvt.outcomes import Outcomes
from HashMvt.scaling import Scaling
from HashMvt.state import State
from HashMvt.testbed import Testbed
from HashMvt.traffic import Traffic
from HashMvt.words import CONVERTERS

# as Robot Framework types them, which leaves the argument open
_CONVERTERS: dict[type, Callable[[Any], Any] | Callable[[Any, Any], Any]] = {**CONVERTERS}
BASE = Path(__file__).resolve().parents[2] / "resources" / "base.yaml"


@library(scope="SUITE", converters=_CONVERTERS, auto_keywords=False)
class HashMvt:
    """Typed keywords over one dataplane."""

    def __init__(
        self, dataplane: str = "embedded", *, driver: DataplaneDriver | None = None
    ) -> None:
        """Choose the dataplane by name; ``driver`` is for tests of the library."""
        testbed = Testbed(dataplane, BASE, driver)
        self._keywords: dict[str, Callable[..., Any]] = {}
        for topic in (Lifecycle, Traffic, Outcomes, State, Scaling, Coordination, Commands):
            self._add(topic(testbed))

    def _add(self, topic: object) -> None:
        for name in dir(topic):
            if name.startswith("_"):
                continue
            member = getattr(topic, name)
            if hasattr(member, "robot_name"):
                if name in self._keywords:
                    raise ValueError(f"two topics have a keyword {name}")
                self._keywords[name] = member

    def get_keyword_names(self) -> list[str]:
        """Return the keywords, to Robot Framework."""
        return sorted(self._keywords)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a keyword, to Robot Framework."""
        keywords: dict[str, Callable[..., Any]] = self.__dict__.get("_keywords", {})
        if name in keywords:
            return keywords[name]
        raise AttributeError(name)
