# SPDX-License-Identifier: Apache-2.0
"""``RemoteDataplane`` and the service, over a real Unix socket, in front of a memory dataplane."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from hashmvt.config import TlsConfig
from hashmvt.control import daemon
from hashmvt.control.service import DataplaneService
from hashmvt.dataplane.memory import MemoryDataplane
from hashmvt.dataplane.remote import RemoteDataplane, Tls
from hashmvt.dataplane.rpc import dataplane_pb2 as pb
from hashmvt.dataplane.rpc import methods
from hashmvt.errors import ProtocolError, Rejected, Unavailable, Unsupported
from hashmvt.model import (
    ANYWHERE,
    Endpoint,
    HomeMap,
    HomeRange,
    InstanceState,
    MappingFilter,
    Proto,
    StaticMapping,
)
from hashmvt.names import ErrorCode
from hashmvt.policy import InsidePolicy, Policy, PolicySet, PoolRun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

POLICY = PolicySet(
    generation=1,
    policies=(Policy(slots=(0, 1)),),
    inside=(InsidePolicy(IPv4Network("10.0.0.0/8"), 0),),
    runs=(PoolRun(IPv4Address("198.51.100.0"), 2, 0),),
)
STATIC = StaticMapping(
    Endpoint(IPv4Address("10.0.0.9"), 53, Proto.UDP),
    Endpoint(IPv4Address("198.51.100.1"), 5353, Proto.UDP),
)


@asynccontextmanager
async def serving(path: Path, plane: MemoryDataplane) -> AsyncIterator[None]:
    server = grpc.aio.server(options=methods.CHANNEL_OPTIONS)
    server.add_generic_rpc_handlers((DataplaneService(plane).handler(),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


@pytest.fixture
async def plane() -> AsyncIterator[MemoryDataplane]:
    plane = MemoryDataplane(POLICY)
    yield plane
    await plane.aclose()


@pytest.fixture
async def remote(tmp_path: Path, plane: MemoryDataplane) -> AsyncIterator[RemoteDataplane]:
    async with (
        serving(tmp_path / "sock", plane),
        await RemoteDataplane.connect(tmp_path / "sock") as remote,
    ):
        yield remote


async def test_reads_are_what_the_far_end_says(
    remote: RemoteDataplane, plane: MemoryDataplane
) -> None:
    assert remote.capabilities == plane.capabilities
    assert await remote.home() == await plane.home()
    assert await remote.rules() == await plane.rules()
    assert await remote.policy() == await plane.policy()
    assert (await remote.snapshot()).instances == (await plane.snapshot()).instances


async def test_changes_arrive(remote: RemoteDataplane, plane: MemoryDataplane) -> None:
    await remote.activate(1)
    assert (await plane.snapshot()).instances[1].state is InstanceState.ACTIVE
    moved = await remote.shard(50, from_instance=0, to_instance=1, generation=9)
    assert moved > 0
    assert await remote.shard(50, from_instance=0, to_instance=1, generation=9) == moved
    assert await remote.transfer(3, from_instance=1, to_instance=0) == 3
    await remote.set_home(HomeMap(5, (HomeRange(ANYWHERE, 1),)))
    await remote.set_rules(HomeMap(6, (HomeRange(ANYWHERE, 1),)))
    assert (await plane.home()).version == 5
    assert (await plane.rules()).version == 6
    await remote.static_add(STATIC)
    (mapping,) = (await remote.mappings(MappingFilter())).items
    assert mapping.inside == STATIC.inside
    assert mapping.expires_in_s is None
    (host,) = (await remote.live(IPv4Network("10.0.0.0/24"), instance=mapping.instance)).items
    assert host.addr == STATIC.inside.addr
    assert (await remote.blocks()).items
    await remote.static_del(STATIC.outside)
    assert await remote.mapping_delete(MappingFilter()) == 0
    await remote.set_policy(POLICY)
    await remote.reset(1)
    await remote.drain(1)
    tick = (await plane.snapshot()).tick
    await remote.advance(7)
    assert (await plane.snapshot()).tick == tick + 7
    assert await remote.inject([]) == ()


async def test_errors_are_the_same_exceptions(remote: RemoteDataplane) -> None:
    with pytest.raises(Rejected) as refused:
        await remote.set_home(HomeMap(0, (HomeRange(ANYWHERE, 0),)))
    assert refused.value.code is ErrorCode.STALE
    with pytest.raises(Rejected) as refused:
        await remote.static_del(STATIC.outside)
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_unsupported_and_nonsense(remote: RemoteDataplane) -> None:
    unknown = methods.Method("None", pb.Empty, pb.Empty)
    with pytest.raises(Unsupported):
        await remote._call(unknown, pb.Empty())
    request = pb.LiveRequest(inside=pb.Prefix(length=77))
    with pytest.raises(ProtocolError, match="prefix on the wire"):
        await remote._call(methods.LIVE, request)


async def test_pages_follow_each_other(remote: RemoteDataplane) -> None:
    for port in range(1, 6):
        await remote.static_add(
            StaticMapping(
                Endpoint(IPv4Address("10.0.0.9"), port, Proto.TCP),
                Endpoint(IPv4Address("198.51.100.1"), 2000 + port, Proto.TCP),
            )
        )
    seen, cursor = [], ""
    while True:
        page = await remote.mappings(MappingFilter(), cursor, limit=2)
        assert len(page.items) <= 2
        seen += [mapping.inside.port for mapping in page.items]
        if page.next is None:
            break
        cursor = page.next
    assert sorted(seen) == [1, 2, 3, 4, 5]


async def test_events_stream(remote: RemoteDataplane) -> None:
    events = aiter(remote.events())
    first = asyncio.ensure_future(anext(events))
    while not first.done():
        await remote.static_add(STATIC)
        await remote.static_del(STATIC.outside)
        await asyncio.sleep(0)
    assert first.result().inside == STATIC.inside.addr
    await events.aclose()  # type: ignore[attr-defined]


async def test_events_end_when_closed(remote: RemoteDataplane) -> None:
    async def read() -> int:
        return sum([1 async for _ in remote.events()])

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0.05)
    await remote.aclose()
    assert await asyncio.wait_for(reading, 5) == 0


async def test_nobody_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not answer: nobody listens there"):
        await RemoteDataplane.connect(tmp_path / "none", timeout_s=2)


async def test_a_restarted_agent_is_found_again(tmp_path: Path, plane: MemoryDataplane) -> None:
    path = tmp_path / "sock"
    async with serving(path, plane):
        remote = await RemoteDataplane.connect(path)
    with pytest.raises(Unavailable):
        await remote.snapshot()
    async with serving(path, plane), asyncio.timeout(10):
        while True:
            try:
                assert (await remote.snapshot()).instances
                break
            except Unavailable:
                await asyncio.sleep(0.05)
        await remote.aclose()


def certify(directory: Path, name: str) -> TlsConfig:
    """A key and a certificate of `name`, signed by the directory's authority."""

    def openssl(*words: str) -> None:
        command = ["openssl", *words]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
    if not (directory / "ca.pem").exists():
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    (directory / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("req", *key, "-keyout", f"{name}.key", "-out", "csr", "-subj", f"/CN={name}")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-extfile", "ext", "-out", f"{name}.pem")
    openssl("x509", "-req", "-in", "csr", *signed)
    return TlsConfig(directory / f"{name}.pem", directory / f"{name}.key", directory / "ca.pem")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
async def test_between_hosts_both_sides_show_a_certificate(
    tmp_path: Path, plane: MemoryDataplane
) -> None:
    agent, client = certify(tmp_path, "agent"), certify(tmp_path, "coordinator")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    stranger = certify(elsewhere, "stranger")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{sock.getsockname()[1]}"
    handlers = (DataplaneService(plane).handler(),)
    async with daemon.served(handlers, tmp_path / "sock", "x", listen=address, tls=agent):
        known = Tls(client.certificate, client.key, client.authority)
        async with await RemoteDataplane.connect(address, tls=known) as remote:
            assert await remote.home() == await plane.home()
        for wrong in (
            Tls(stranger.certificate, stranger.key, client.authority),
            Tls(client.certificate, client.key, stranger.authority),
        ):
            with pytest.raises(Unavailable):
                await RemoteDataplane.connect(address, tls=wrong, timeout_s=2)
    with pytest.raises(ValueError, match="mutual TLS only"):
        await RemoteDataplane.connect(address)


async def test_closed_is_unavailable(remote: RemoteDataplane) -> None:
    await remote.aclose()
    await remote.aclose()
    with pytest.raises(Unavailable, match="closed"):
        await remote.snapshot()
