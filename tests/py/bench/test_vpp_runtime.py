# SPDX-License-Identifier: Apache-2.0
"""What is made of VPP's text: clocks of the nodes that a NAT adds, rates, reasons, memory."""

from __future__ import annotations

import pytest

from hashmvt.bench.vpp.process import WORKER, read_heap, read_resident
from hashmvt.bench.vpp.runtime import (
    RuntimeTextError,
    read_errors,
    read_runtime,
    worst_errors,
)
from hashmvt.private_vpp import VppError

RUNTIME = """\
Thread 0 vpp_main (lcore 0)
Time 1.0, 10.000000 sec internal node vector rate 0.00 loops/sec 1875351.88
  vector rates in 0.0000e0, out 0.0000e0, drop 0.0000e0, punt 0.0000e0
             Name                 State         Calls          Vectors        Suspends      Packet-Clocks   Vectors/Call
ip4-full-reassembly-expire-wal "any wait"                0               0              20          7.66e3            0.00
ip4-lookup                       active               9999          999999               0          9.99e9          256.00
---------------
Thread 1 vpp_wk_0 (lcore 1)
Time 1.0, 10.000000 sec internal node vector rate 256.00 loops/sec 119394.65
  vector rates in 2.0000e7, out 1.9000e7, drop 1.0000e6, punt 0.0000e0
             Name                 State         Calls          Vectors        Suspends      Packet-Clocks   Vectors/Call
error-drop                       active               1000           50000               0          2.00e1           50.00
ethernet-input                   active               4000         1000000               0          7.35e0          250.00
ip4-lookup                       active               4000          950000               0          1.34e1          237.50
nat-in2out                       active               4000         1000000               0          6.55e1          250.00
nat-sweep                        polling              4000               0               0          1.25e2            0.00
pg-input                         polling              4000         1000000               0          2.70e1          250.00
pg1-tx                           active               4000          950000               0          7.94e0          237.50
unix-epoll-input                 polling                 3               0               0          1.00e3            0.00
"""  # noqa: E501 - as VPP writes it
PLAIN = {"ethernet-input", "ip4-lookup", "pg-input", "pg1-tx", "unix-epoll-input"}


def test_the_workers_part_is_read() -> None:
    runtime = read_runtime(RUNTIME, WORKER)
    assert runtime.packets == 1_000_000
    assert runtime.sent("pg1-tx") == 950_000
    assert runtime.sent("pg0-tx") == 0
    assert runtime.nodes["ip4-lookup"].clocks == pytest.approx(13.4 * 950_000)
    assert runtime.mpps(950_000) == pytest.approx(19.0)
    assert "ip4-full-reassembly-expire-wal" not in runtime.nodes


def test_all_nodes_that_the_nat_adds_count_for_each_packet_that_came_in() -> None:
    added = read_runtime(RUNTIME, WORKER).added(PLAIN)
    assert added == pytest.approx(
        {"nat-in2out": 65.5, "error-drop": 50_000 * 20 / 1e6, "nat-sweep": 125 * 4000 / 1e6}
    )
    assert next(iter(added)) == "nat-in2out"


def test_nodes_without_packets_do_not_count_where_the_thread_was_idle() -> None:
    runtime = read_runtime(RUNTIME, WORKER)
    assert set(runtime.added(PLAIN, busy_only=True)) == {"nat-in2out", "error-drop"}
    assert runtime.busy_clocks() == pytest.approx(
        50_000 * 20 + 1e6 * (7.35 + 65.5 + 27) + 950_000 * (13.4 + 7.94)
    )


def test_another_thread_is_another_part() -> None:
    assert read_runtime(RUNTIME, "vpp_main").nodes["ip4-lookup"].packets == 999_999


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("", "no thread vpp_wk_0"), ("Thread 1 vpp_wk_0 (lcore 1)\nnothing", "no vector rates")],
)
def test_other_text_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(RuntimeTextError, match=wrong):
        read_runtime(text, WORKER)


def test_nothing_came_in() -> None:
    text = "Thread 1 vpp_wk_0 (lcore 1)\n  vector rates in 0.0000e0, out 0.0000e0, drop 0, punt 0\n"
    runtime = read_runtime(text, WORKER)
    assert (runtime.packets, runtime.mpps(0)) == (0, 0.0)


ERRORS = """\
   Count                  Node                              Reason               Severity
        12             nat-in2out                     out of ports (a: b)           error
         3             nat-in2out                       no such session             error
         5             ip4-lookup                        packets                     info
"""


def test_reasons_are_the_counters_that_grew() -> None:
    now = read_errors(ERRORS)
    assert now == {"nat-in2out: out of ports (a: b)": 12, "nat-in2out: no such session": 3}
    assert worst_errors({}, now) == (
        "nat-in2out: out of ports (a: b) (12), nat-in2out: no such session (3)"
    )
    before = {"nat-in2out: out of ports (a: b)": 12}
    assert worst_errors(before, now) == "nat-in2out: no such session (3)"
    assert worst_errors(now, now) == "no counter tells why"


HEAP = """\
base 0x7f7c58180000, size 1.23g, locked, unmap-on-destroy, name 'main heap'
    page stats: page-size 4K, total 323584, populated 40609, not-populated 282975
      numa 0: 40609 pages, 158.63m bytes
    total: 1.23G, used: 147.75M, free: 1.09G, trimmable: 1.09G
"""


def test_memory() -> None:
    heap = read_heap(HEAP)
    assert heap.used_bytes == int(147.75 * (1 << 20))
    assert heap.resident_bytes == 40609 * 4096
    assert read_heap(HEAP.replace("4K", "2M")).resident_bytes == 40609 << 21
    assert read_heap(HEAP.replace("147.75M", "2.50G")).used_bytes == 5 << 29
    with pytest.raises(VppError, match="VPP does not tell what its heap uses"):
        read_heap("unknown input")


def test_resident_memory_has_huge_pages_with_it() -> None:
    rollup = "0-1 ---p 0 [rollup]\nRss:  100 kB\nPss:  90 kB\nPrivate_Hugetlb:   2048 kB\n"
    assert read_resident(rollup) == (100 + 2048) << 10
