# SPDX-License-Identifier: Apache-2.0
"""Each check at the end fails for the thing that it is named after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from demo import report
from demo.plan import PLAN
from demo.report import Captured, Check, InstanceReport, ScaleOut
from demo.traffic.wire import ClientReport, ServerReport, Tally
from demo.verify import Judgement

CLIENT = "10.77.0.1"


def failed(checks: Sequence[Check]) -> list[str]:
    return [check.name for check in checks if not check.ok]


@pytest.fixture
def client() -> ClientReport:
    ours = ClientReport(
        clients=PLAN.clients, kept=2 * PLAN.clients, hairpins=1, ttl_exceeded=1, port_unreachable=1
    )
    ours.late_rounds = 3
    ours.tallies = {kind: Tally(2, 2, 10, 20) for kind in ours.tallies}
    return ours


@pytest.fixture
def server() -> ServerReport:
    theirs = ServerReport()
    theirs.tallies = {kind: Tally(2, 2, 10, 20) for kind in theirs.tallies}
    theirs.sources = {str(PLAN.client(i)): ["198.51.100.1"] for i in range(PLAN.clients)}
    return theirs


def instance(number: int, packets: int) -> InstanceReport:
    return InstanceReport(number, "active", packets, 5, 5, 1, 64, 0, {}, {})


INSTANCES = [instance(0, 50), instance(1, 40), instance(2, 10)]
SCALE = ScaleOut(2, ("i", "ii", "iii", "iv", "v"), 3.0)


def test_good_ends_pass(client: ClientReport, server: ServerReport) -> None:
    assert failed(list(report.ends(client, server))) == []
    assert failed(list(report.behaviour(PLAN, client, server))) == []


@pytest.mark.parametrize("name", ["out", "back", "bytes_out", "bytes_back"])
@pytest.mark.parametrize("kind", ["tcp bulk", "udp dns"])
def test_ends_that_differ(client: ClientReport, server: ServerReport, kind: str, name: str) -> None:
    setattr(server.tallies[kind], name, 1)
    assert failed(list(report.ends(client, server))) == [f"{kind}: the same at both ends"]


def test_an_unanswered_query(client: ClientReport, server: ServerReport) -> None:
    client.tallies["icmp echo"].back = 1
    assert failed(list(report.ends(client, server))) == ["icmp echo: the same at both ends"]


def test_traffic_that_never_was(client: ClientReport, server: ServerReport) -> None:
    client.tallies["udp dns"] = server.tallies["udp dns"] = Tally()
    assert failed(list(report.ends(client, server))) == ["udp dns: the same at both ends"]


def test_errors_of_either_end(client: ClientReport, server: ServerReport) -> None:
    server.errors.append("bulk: 7 bytes short")
    assert failed(list(report.ends(client, server))) == ["no error at either end"]


def test_a_client_that_never_came_through(client: ClientReport, server: ServerReport) -> None:
    del server.sources[CLIENT]
    assert failed(list(report.behaviour(PLAN, client, server))) == ["client addresses"]


def test_a_source_that_is_not_of_the_pool(client: ClientReport, server: ServerReport) -> None:
    server.sources[CLIENT] = ["10.77.0.1"]
    assert failed(list(report.behaviour(PLAN, client, server))) == [
        "the server saw pool addresses only"
    ]


def test_a_client_with_two_outside_addresses(client: ClientReport, server: ServerReport) -> None:
    server.sources[CLIENT] = ["198.51.100.1", "198.51.100.2"]
    assert failed(list(report.behaviour(PLAN, client, server))) == [
        "one outside address for each client (paired pooling)"
    ]


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("endpoints_changed", ["x"], "long-lived flows kept their outside endpoint"),
        ("kept", 1, "long-lived flows kept their outside endpoint"),
        ("hairpins", 0, "hairpinning"),
        ("ttl_exceeded", 0, "traceroute: errors reach the client's socket"),
        ("port_unreachable", 0, "traceroute: errors reach the client's socket"),
    ],
)
def test_what_clients_notice(
    client: ClientReport, server: ServerReport, name: str, value: object, check: str
) -> None:
    setattr(client, name, value)
    assert failed(list(report.behaviour(PLAN, client, server))) == [check]


def test_good_wire_passes() -> None:
    found = Judgement(in2out=5, mappings=2, hosts={CLIENT: {"198.51.100.1"}})
    assert failed(list(report.wire_checks(found, Captured(5, 5, 0)))) == []


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"bad_checksums": 1}, "no packet translated wrongly"),
        ({"wrong": 1}, "no packet translated wrongly"),
        ({"malformed": 1}, "no packet translated wrongly"),
        ({"untranslated": 1}, "no packet translated wrongly"),
        ({"in2out": 0}, "no packet translated wrongly"),
        ({"lost": 1}, "no packet lost"),
        ({"hosts": {CLIENT: {"a", "b"}}}, "mappings are one to one, one address for each host"),
        ({"mappings": 0}, "mappings are one to one, one address for each host"),
    ],
)
def test_what_the_wire_shows(change: dict[str, int], check: str) -> None:
    good = Judgement(in2out=5, mappings=2, hosts={CLIENT: {"198.51.100.1"}})
    found = replace(good, **change)  # type: ignore[arg-type]
    assert failed(list(report.wire_checks(found, None))) == [check]


@pytest.mark.parametrize("captured", [Captured(5, 5, 1), Captured(0, 5, 0), Captured(5, 0, 0)])
def test_a_capture_with_gaps(captured: Captured) -> None:
    found = Judgement(in2out=5, mappings=2, hosts={CLIENT: {"198.51.100.1"}})
    assert failed(list(report.wire_checks(found, captured))) == [
        "every packet was captured on both sides"
    ]


def test_instances() -> None:
    assert failed(list(report.instance_checks(PLAN, INSTANCES))) == []
    lazy = [instance(0, 90), instance(1, 10)]
    assert len(failed(list(report.instance_checks(PLAN, lazy)))) == 1
    dropping = [*INSTANCES, replace(instance(3, 0), dropped={"no_mapping": 1})]
    assert failed(list(report.instance_checks(PLAN, dropping))) == ["no drops"]
    passing = [*INSTANCES, replace(instance(3, 0), passed={"exempt": 1})]
    assert failed(list(report.instance_checks(PLAN, passing))) == [
        "nothing went through untranslated"
    ]


def test_scale_out(client: ClientReport) -> None:
    assert failed(list(report.scale_checks(PLAN, SCALE, INSTANCES, client))) == []
    short = replace(SCALE, steps=("i", "ii", "iii", "v"))
    assert len(failed(list(report.scale_checks(PLAN, short, INSTANCES, client)))) == 1
    none = replace(SCALE, instance=None)
    assert len(failed(list(report.scale_checks(PLAN, none, INSTANCES, client)))) == 2
    idle = [*INSTANCES[:2], replace(instance(2, 0), made=0)]
    assert len(failed(list(report.scale_checks(PLAN, SCALE, idle, client)))) == 2
    more = [*INSTANCES, instance(3, 1)]
    assert failed(list(report.scale_checks(PLAN, SCALE, more, client))) == [
        "no other instance was added"
    ]
