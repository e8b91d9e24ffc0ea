# SPDX-License-Identifier: Apache-2.0
"""``hashmvt show`` and ``top`` against a running agent."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from hashmvt.cli import show
from hashmvt.cli.top import view
from hashmvt.model import Endpoint, InstanceSnapshot, InstanceState, Proto, Snapshot
from hashmvt.names import Counters, Gauges

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.py.cli.conftest import Agent, Result


@pytest.fixture
def shown(hashmvt: Callable[..., Result], agent: Agent) -> Callable[..., Result]:
    """Return a function that runs ``hashmvt show ARGUMENTS`` against the agent."""

    def call(*arguments: str) -> Result:
        result = hashmvt("show", *arguments, "--socket", agent.socket)
        assert result.err == ""
        assert result.code == 0
        return result

    return call


def test_the_word_may_be_left_out(shown: Callable[..., Result]) -> None:
    assert shown().out == shown("instances").out
    assert "memory/0" in shown().out
    assert "12 mappings, home map 1, 2 spare" in shown().out


def test_instances_as_json(shown: Callable[..., Result]) -> None:
    found = shown("--json").json
    assert found["host"] == "memory"
    assert [i["state"] for i in found["instances"]] == ["active", "active", "spare", "spare"]
    assert [i["name"] for i in found["instances"]][:2] == ["memory/0", "memory/1"]
    assert sum(i["gauges"]["mappings"] for i in found["instances"]) == 12
    assert set(found["instances"][0]) == {
        "id", "name", "state", "epoch", "load", "ring_dropped", "io_errors", "counters", "gauges",
        "passed", "dropped",
    }  # fmt: skip
    assert found["io"]["inside"]["packets"] == 0


def test_mappings_and_filters(shown: Callable[..., Result]) -> None:
    rows = shown("mappings").out.splitlines()
    assert rows[0].split()[:4] == ["proto", "inside", "external", "remote"]
    assert len(rows) == 13

    def count(*arguments: str) -> int:
        return int(shown("mappings", *arguments, "--count").out)

    assert count() == 12
    assert count("--inside", "10.0.0.0/24") == 9
    assert count("--inside", "10.5.0.9") == 3
    assert count("--proto", "tcp") == 3
    assert count("--static") == 1
    assert count("--dynamic") == 11
    assert count("--inside-port", "1001") == 3
    assert count("--external-port", "80") == 1
    assert count("--instance", "3") == 0
    assert count("--instance", "0") + count("--instance", "1") == 12
    assert count("--external", "192.0.2.0/24") == 0


def test_mappings_as_json(shown: Callable[..., Result]) -> None:
    found = shown("mappings", "--static", "--json").json
    assert found == {
        "mappings": [
            {
                "inside": {"address": "10.5.0.9", "port": 80, "protocol": "tcp"},
                "external": {"address": "198.51.100.1", "port": 80, "protocol": "tcp"},
                "remote": None,
                "instance": found["mappings"][0]["instance"],
                "policy": 0,
                "static": True,
                "tcp_state": "closed",
                "filtering": "endpoint-independent",
                "sessions": 0,
                "age": 0,
                "idle": 0,
                "expires_in": None,
                "packets_in2out": 0,
                "packets_out2in": 0,
                "realm": 0,
            }
        ],
        "count": 1,
        "more": False,
    }
    assert shown("mappings", "--count", "--json").json == {"count": 12}


def test_listings_are_bounded_and_say_so(shown: Callable[..., Result]) -> None:
    result = shown("mappings", "--limit", "5")
    assert len(result.out.splitlines()) == 7
    assert "... more than 5; raise --limit, filter, or use --count" in result.out
    found = shown("mappings", "--limit", "5", "--json").json
    assert (found["count"], found["more"], len(found["mappings"])) == (5, True, 5)
    exact = shown("mappings", "--limit", "12", "--json").json
    assert (exact["count"], exact["more"]) == (12, False)


def test_hosts(shown: Callable[..., Result]) -> None:
    found = shown("hosts", "--json").json
    assert {h["address"]: h["mappings"] for h in found["hosts"] if h["address"] != "10.5.0.9"} == {
        "10.0.0.1": 3,
        "10.0.0.2": 3,
        "10.0.0.3": 3,
    }
    assert shown("hosts", "--inside", "10.0.0.0/24", "--count").out == "3\n"
    assert "10.0.0.2" in shown("hosts").out


def test_pool_and_blocks(shown: Callable[..., Result]) -> None:
    text = shown("pool").out
    assert "instance  blocks   free" in text
    assert "without use" in text
    found = shown("pool", "--json").json
    assert sum(i["blocks"] for i in found["instances"]) == 4 * 1024
    assert found["blocks"] == shown("blocks", "--json").json["blocks"]
    assert sum(b["in_use_udp"] for b in found["blocks"]) == 9
    assert "198.51.100." in shown("blocks").out


@pytest.mark.parametrize("what", ["rules", "home"])
def test_rules_and_home(shown: Callable[..., Result], what: str) -> None:
    text = shown(what).out
    assert "0.0.0.0/0" in text
    assert "by hash of the host (memory/0:128 memory/1:128)" in text
    assert "version 1: 1 range, 0 endpoint pins" in text
    found = shown(what, "--json").json
    assert found["version"] == 1
    assert found["ranges"][0]["prefix"] == "0.0.0.0/0"
    assert len(found["tables"][0]) == 256


def test_policies_and_errors(shown: Callable[..., Result], agent: Agent) -> None:
    assert "300/7440/240/60" in shown("policies").out
    assert shown("policies", "--json").json["policies"][0]["timeouts"]["udp"] == 300
    assert shown("errors").out == "nothing was dropped, passed or ignored\n"
    agent.send(Endpoint(IPv4Address("192.0.2.1"), 1, Proto.UDP))
    assert "not_inside" in shown("errors").out
    assert shown("errors", "--json").json["instances"][0]["passed"]["not_inside"] == 1


@pytest.mark.parametrize("as_json", [True, False])
def test_events_are_followed(shown: Callable[..., Result], agent: Agent, *, as_json: bool) -> None:
    stop = threading.Event()

    def traffic() -> None:
        port = 5000
        while not stop.wait(0.05):
            agent.send(Endpoint(IPv4Address("10.7.7.7"), port, Proto.UDP))
            port += 1

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        flags = ("--json",) if as_json else ()
        result = shown("events", "--limit", "2", *flags)
    finally:
        stop.set()
        thread.join()
    lines = result.out.splitlines()
    assert len(lines) == 2
    assert all("mapping_created" in line or "mapping created" in line for line in lines)
    assert all("10.7.7.7" in line for line in lines)


def test_events_end_in_time(shown: Callable[..., Result]) -> None:
    before = time.monotonic()
    assert shown("events", "--for", "0.3").out == ""
    assert time.monotonic() - before < 10


def test_a_socket_is_found_by_configuration(hashmvt: Callable[..., Result], agent: Agent) -> None:
    path = agent.socket.parent / "c.yaml"
    path.write_text(
        "nat44: {inside: [10.0.0.0/8], pool: [198.51.100.0/30]}\nagent: {control: agent.sock}\n"
    )
    result = hashmvt("show", "mappings", "--count", "-c", path)
    assert (result.code, result.out) == (0, "12\n")


def test_the_live_view() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    before = Snapshot(0, 0, 0, 3, 4, 0, (InstanceSnapshot(0, InstanceState.ACTIVE),))
    busy = InstanceSnapshot(
        0,
        InstanceState.ACTIVE,
        cycles_busy=90,
        cycles_total=100,
        counters=Counters(translated_in2out=12345, translated_out2in=10),
        gauges=Gauges(mappings=500, max_mappings=1000, hosts=7, blocks=5, blocks_free=3),
    )
    spare = InstanceSnapshot(1, InstanceState.SPARE)
    after = replace(before, taken_ns=1_000_000_000, instances=(busy, spare))
    console.print(view(before, after, "gw"))
    text = console.export_text()
    for part in ("HashMVT on gw", "gw/0", "90%", "12.3k", "50%", "home map 3, rules 4", "1 spare"):
        assert part in text


def test_top_draws_and_ends(
    hashmvt: Callable[..., Result], agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    result = hashmvt("top", "--interval", "0.1", "--views", "2", "--socket", agent.socket)
    assert result.code == 0
    assert "HashMVT on memory" in result.out
    assert "memory/1" in result.out


def test_show_is_one_command() -> None:
    assert show.command.name == "show"
