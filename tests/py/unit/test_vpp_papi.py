# SPDX-License-Identifier: Apache-2.0
"""Connecting to a VPP that does not do its part."""

from pathlib import Path
from typing import Any

import pytest

papi = pytest.importorskip(
    "hashmvt.dataplane.vpp.papi", reason="the package's extra vpp is not installed"
)

from hashmvt.errors import Unavailable  # noqa: E402


class Silent:
    """A client as vpp-papi's when VPP takes a message and never answers."""

    def connect(self, _name: str) -> Any:
        raise TypeError("a bytes-like object is required, not 'NoneType'")


def test_a_vpp_that_does_not_answer_is_unavailable() -> None:
    """It was a TypeError, which nobody takes for something to be tried again."""
    with pytest.raises(Unavailable, match="does not answer"):
        papi._connect(Silent(), Path("/run/vpp/api.sock"))
