# SPDX-License-Identifier: Apache-2.0
"""Names and numbers in Python are those that the C compiler makes of the X-macros."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hashmvt
from hashmvt import model
from hashmvt._ffi import generate
from hashmvt._ffi._mvt import ffi, lib
from hashmvt.names import Counters, DropReason, ErrorCode, EventType, Gauges, PassReason

if TYPE_CHECKING:
    from hashmvt._ffi._mvt import CData

ROOT = Path(__file__).resolve().parents[3]


def strings(array: CData) -> list[str]:
    """Read a NULL-terminated array of C strings."""
    result: list[str] = []
    while array[len(result)] != ffi.NULL:
        result.append(ffi.string(array[len(result)]).decode())
    return result


def test_errors() -> None:
    names = strings(lib.hashmvt_err_names)
    values = [lib.hashmvt_err_values[i] for i in range(len(names))]
    assert [(e.name, e.value) for e in ErrorCode] == list(zip(names, values, strict=True))


def test_drops() -> None:
    assert [d.label for d in DropReason] == strings(lib.hashmvt_drop_names)
    assert [d.number for d in DropReason] == list(range(lib.MVT_DROP_N))
    for reason in DropReason:
        assert ffi.string(lib.mvt_drop_name(reason.number)).decode() == reason.label


def test_passes() -> None:
    assert [p.label for p in PassReason] == strings(lib.hashmvt_pass_names)
    assert [p.number for p in PassReason] == list(range(lib.MVT_PASS_N))
    for reason in PassReason:
        assert ffi.string(lib.mvt_pass_name(reason.number)).decode() == reason.label


def test_events() -> None:
    assert [e.label for e in EventType] == strings(lib.hashmvt_event_names)
    assert [e.number for e in EventType] == list(range(lib.MVT_EVENT_N))
    for event in EventType:
        assert ffi.string(lib.mvt_event_name(event.number)).decode() == event.label


def test_counters_and_gauges() -> None:
    assert [f.name for f in fields(Counters)] == strings(lib.hashmvt_counter_names)
    assert [f.name for f in fields(Gauges)] == strings(lib.hashmvt_gauge_names)


def test_bounds_are_the_cores() -> None:
    assert model.MAX_INSTANCES == lib.MVT_HOME_INSTANCES
    assert model.HOME_BUCKETS == lib.MVT_HOME_BUCKETS


def test_numbers_of_the_models_enums_are_the_cores() -> None:
    for enum, names in (
        (model.Proto, "UDP TCP ICMP"),
        (model.Filtering, "EI AD APD"),
        (model.InstanceState, "SPARE ACTIVE DRAINING"),
        (model.TimeoutClass, "UDP TCP_ESTABLISHED TCP_TRANSITORY TCP_INCOMING_SYN ICMP"),
        (model.Verdict, "NONE TRANSLATED PASSED DROPPED HANDOFF HELD"),
        (model.TcpState, ("CLOSED INIT_IN2OUT INIT_OUT2IN ESTABLISHED FIN_IN2OUT FIN_OUT2IN "
                         "FIN_BOTH TRANS")),
    ):  # fmt: skip
        prefix = {
            "Proto": "PROTO",
            "Filtering": "FILTER",
            "InstanceState": "INSTANCE",
            "TimeoutClass": "TIMEOUT",
            "Verdict": "VERDICT",
            "TcpState": "TCP",
        }[enum.__name__]
        found = [getattr(lib, f"MVT_{prefix}_{name}") for name in names.split()]
        assert [member.value for member in enum] == found


def test_the_kept_file_is_what_the_headers_give() -> None:
    headers = ROOT / "plugin" / "mvt"
    if not headers.is_dir():
        pytest.skip("the package is installed without the C sources")
    kept = Path(hashmvt.__file__).parent / "names.py"
    assert kept.read_text(encoding="utf-8") == generate.generate(headers)


def test_a_header_without_the_macro_is_an_error() -> None:
    with pytest.raises(generate.MacroError, match="no macro foreach_x"):
        generate.macro_rows("#define other 1\n", "foreach_x")
    with pytest.raises(generate.MacroError, match="no row"):
        generate.macro_rows("#define foreach_x 1\n", "foreach_x")


def test_texts_may_hold_commas_and_parentheses() -> None:
    source = '#define foreach_x \\\n\t_ (A, a, "one, two (three)") \\\n\t_ (B, -2, "four")\n'
    rows = generate.macro_rows(source, "foreach_x")
    assert rows == [("A", "a", "one, two (three)"), ("B", "-2", "four")]
