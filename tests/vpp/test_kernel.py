# SPDX-License-Identifier: Apache-2.0
"""Kernels as hosts: real TCP over veth pairs. No end leaves a checksum to the other."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Nat

SIZE = 3_000_000
SERVE = f"""
import socket
s = socket.create_server(("0.0.0.0", 8000))
print("listens", flush=True)
while True:
    c, peer = s.accept()
    got = 0
    while got < {SIZE}:
        data = c.recv(65536)
        if not data:
            break
        got += len(data)
    c.sendall(peer[0].encode().ljust(16) + b"y" * {SIZE})
    c.close()
"""
CALL = f"""
import socket
c = socket.create_connection(("192.0.2.2", 8000), timeout=20)
c.sendall(b"x" * {SIZE})
data = b""
while True:
    more = c.recv(65536)
    if not more:
        break
    data += more
print(data[:16].decode().strip(), len(data) - 16)
"""
PING = """
import socket, struct
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.settimeout(20)
echo = struct.pack("!BBHHH", 8, 0, 0, 77, 1) + b"ping"
s.sendto(echo[:2] + checksum(echo).to_bytes(2, "big") + echo[4:], ("192.0.2.2", 0))
while (got := s.recv(2048)[20:])[:1] != bytes(1) or got[4:] != echo[4:]:
    pass
"""


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(words[:6])}: {done.stderr}"
    return done.stdout


@pytest.fixture
def hosts(disabled: Nat) -> Iterator[tuple[str, str]]:
    """Return two namespaces, each with a veth into VPP, and the NAT between them."""
    names = (f"hmvt-{os.getpid()}-in", f"hmvt-{os.getpid()}-out")
    nets = (("10.77.0", "hmvtti"), ("192.0.2", "hmvtto"))
    try:
        for space, (net, link) in zip(names, nets, strict=True):
            run("ip", "netns", "add", space)
            run("ip", "link", "add", f"{link}0", "type", "veth", "peer", "name", f"{link}1")
            run("ip", "link", "set", f"{link}1", "netns", space)
            run("ip", "link", "set", f"{link}0", "up")
            run("ip", "-n", space, "addr", "add", f"{net}.2/24", "dev", f"{link}1")
            run("ip", "-n", space, "link", "set", f"{link}1", "up")
            run("ethtool", "-K", f"{link}0", "tx", "off")
            run("ip", "netns", "exec", space, "ethtool", "-K", f"{link}1", "tx", "off")
            disabled.vpp.cli(f"create host-interface name {link}0 cksum-gso-disable")
            disabled.vpp.do(
                f"set interface ip address host-{link}0 {net}.1/24",
                f"set interface state host-{link}0 up",
            )
        run("ip", "-n", names[0], "route", "add", "default", "via", "10.77.0.1")
        run("ip", "-n", names[1], "route", "add", "203.0.113.0/24", "via", "192.0.2.1")
        disabled.vpp.do(
            "hashmvt enable max-mappings 10000",
            "hashmvt interface add host-hmvtti0 in",
            "hashmvt interface add host-hmvtto0 out",
            "hashmvt policy add 10.77.0.0/16",
            "hashmvt pool add 203.0.113.7",
        )
        yield names
    finally:
        disabled.vpp.cli("hashmvt disable")
        for _, link in nets:
            disabled.vpp.cli(f"delete host-interface name {link}0")
            subprocess.run(["ip", "link", "del", f"{link}0"], check=False, capture_output=True)
        for space in names:
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def test_kernel_tcp(disabled: Nat, hosts: tuple[str, str]) -> None:
    """Some megabytes in both directions arrive whole; the server sees the pool's address."""
    inside, outside = hosts
    server = subprocess.Popen(
        ["ip", "netns", "exec", outside, sys.executable, "-c", SERVE], stdout=subprocess.PIPE
    )
    try:
        assert server.stdout
        assert server.stdout.readline() == b"listens\n"
        said = run("ip", "netns", "exec", inside, sys.executable, "-c", CALL)
        assert said.split() == ["203.0.113.7", str(SIZE)]
        assert len(disabled.mappings(proto_plus1=2)) == 1
        run("ip", "netns", "exec", inside, sys.executable, "-c", PING)
        assert len(disabled.mappings(proto_plus1=3)) == 1
    finally:
        server.kill()
        server.wait()
