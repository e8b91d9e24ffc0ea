# SPDX-License-Identifier: Apache-2.0
"""The ``Link`` over vpp-papi and the stats segment. Nothing else of the package imports vpp_papi.

Message definitions are those that the running VPP gives, so no path must be set and no file can be
of another version. The version of the plugin's API is compared with what this package speaks. Of
vpp-papi only the blocking socket client is used. It leaves attributes in ``ipaddress``, which are
taken away again.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import struct
import time
from typing import TYPE_CHECKING, Any

from vpp_papi import VPPApiClient, VPPApiJSONFiles
from vpp_papi.vpp_serializer import VPPSerializerValueError
from vpp_papi.vpp_stats import VPPStats

from hashmvt.errors import Rejected, Unavailable
from hashmvt.names import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from hashmvt.dataplane.vpp.settings import VppSettings

CLIENT = "hashmvt"
ANSWER_S = 10.0
API_VERSION = (2, 0)
"""Major: must be the plugin's. Minor: the plugin's must not be lower."""
STATS_S = 1.0
_NEEDED = ("hashmvt_get", "sw_interface_dump")
_PATCHES = ("vapi_af", "vapi_af_name")

log = logging.getLogger(__name__)


def connect(settings: VppSettings) -> PapiLink:
    """Connect to VPP's two sockets.

    Raises:
        Unavailable: VPP does not run, a permission or the plugin is missing, or the plugin is of
            another version; says what to do.

    """
    client = _client(settings.api)
    link = PapiLink(client, settings)
    try:
        _connect(client, settings.api)
        link.open_stats()
    except BaseException:
        link.close()
        raise
    return link


class _Client(VPPApiClient):  # type: ignore[misc]
    """A client that knows the messages that we need, and no others of VPP's thousands."""

    plugin_version: tuple[int, ...] | None = None

    def get_api_definitions(self) -> None:
        """Ask VPP for the definitions of its messages; called while it connects."""
        self._register_functions(do_async=False)
        reply = self.api.get_api_json()
        if reply.retval:
            raise OSError(f"get_api_json failed ({reply.retval})")
        for definitions in json.loads(reply.json):
            names = {message[0] for message in definitions.get("messages", ())}
            if not names.intersection(_NEEDED):
                continue
            if "hashmvt_get" in names:
                version = definitions.get("options", {}).get("version", "0")
                self.plugin_version = tuple(int(part) for part in version.split("."))
            messages, services = VPPApiJSONFiles.process_json_str(json.dumps(definitions))
            self.messages.update(messages)
            self.services.update(services)


def _client(api: Path) -> _Client:
    base = ipaddress._IPAddressBase  # noqa: SLF001 - where vpp-papi leaves its attributes
    before = {name: vars(base)[name] for name in _PATCHES if name in vars(base)}
    client = _Client(
        bootstrapapi=True, server_address=str(api), read_timeout=ANSWER_S, async_thread=False
    )
    for name in _PATCHES:
        if name not in before and name in vars(base):
            delattr(base, name)
    return client


def _connect(client: _Client, api: Path) -> None:
    try:
        client.connect(CLIENT)
    except OSError as error:
        raise Unavailable(
            _why_not(error, api, "socksvr { default }", "dataplane.vpp.api")
        ) from None
    except TypeError:  # what vpp-papi makes of an answer that does not come
        raise Unavailable(
            _why_not(OSError("no answer"), api, "socksvr { default }", "dataplane.vpp.api")
        ) from None
    version = client.plugin_version
    if version is None:
        raise Unavailable(
            f"VPP at {api} runs without the HashMVT plugin: install vpp-plugin-hashmvt, write "
            f"`plugins {{ plugin hashmvt_plugin.so {{ enable }} }}` in its startup.conf and "
            f"restart it"
        )
    if version[0] != API_VERSION[0] or version[1:] < API_VERSION[1:]:
        raise Unavailable(
            f"the HashMVT plugin of VPP at {api} speaks API {_dotted(version)} and this package "
            f"{_dotted(API_VERSION)}: install both of one release and restart VPP"
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _why_not(error: OSError, path: Path, section: str, key: str) -> str:
    """Say what to do about a socket that cannot be used."""
    if isinstance(error, PermissionError):
        return (
            f"no permission for VPP's socket {path}: run as root, or join the group "
            f"{_group(path)} that may use it"
        )
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return (
            f"VPP is not running, or does not listen at {path}: start it, with `{section}` in its "
            f"startup.conf, or name its socket in {key}"
        )
    reason = (error.strerror or str(error)).lower()
    return f"VPP at {path} does not answer ({reason}): see its log, and restart it if it hangs"


def _group(path: Path) -> str:
    """Return the group that may use a socket; the directory's where nobody may look inside."""
    import grp  # noqa: PLC0415 - Unix only, as VPP is

    for place in (path, path.parent):
        try:
            return grp.getgrgid(place.stat().st_gid).gr_name
        except (OSError, KeyError):
            continue
    return "vpp"


class _Hurry:
    """Stands in for the lock of vpp-papi's stats client, which would wait for ever for a VPP that
    ended while it changed its directory.
    """

    def __init__(self, stats: Any) -> None:
        self._stats = stats
        self._epoch = 0

    def __enter__(self) -> None:
        end = time.monotonic() + STATS_S
        while self._stats.in_progress:
            if time.monotonic() > end:
                raise Unavailable("VPP's stats segment is stuck: restart VPP")
        self._epoch = self._stats.epoch

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stats.in_progress or self._stats.epoch != self._epoch:
            raise OSError("it changed meanwhile")  # vpp-papi reads again


class PapiLink:
    """See ``Link``. Made by ``connect``."""

    def __init__(self, client: _Client, settings: VppSettings) -> None:
        """Use a client; ``connect`` is the way to get one."""
        self._client = client
        self._api = settings.api
        self._stats_path = settings.stats
        self._stats: Any = None
        self._takers: dict[str, Callable[[Any], None]] = {}
        client.register_event_callback(self._event)

    def open_stats(self) -> None:
        """Map the stats segment.

        Raises:
            Unavailable: it cannot be done.

        """
        stats = VPPStats(str(self._stats_path))
        stats.lock = _Hurry(stats)
        try:
            stats.connect()
        except (OSError, IndexError) as error:
            failed = error if isinstance(error, OSError) else OSError("no segment was given")
            raise Unavailable(
                _why_not(failed, self._stats_path, "statseg { default }", "dataplane.vpp.stats")
            ) from None
        self._stats = stats

    @property
    def alive(self) -> bool:
        """See ``Link``."""
        reader = self._client.transport.message_thread
        return reader is not None and reader.is_alive()

    def call(self, message: str, **fields: object) -> Any:
        """See ``Link``."""
        try:
            return getattr(self._client.api, message)(**fields)
        except (VPPSerializerValueError, struct.error) as error:
            raise Rejected(ErrorCode.INVALID, f"a number is out of range: {error}") from None
        except OSError:
            # whatever comes late would be taken for somebody else's answer
            gone, self._client.transport.connected = not self.alive, False
            raise Unavailable(
                f"VPP at {self._api} went away: start it again"
                if gone
                else f"VPP at {self._api} did not answer within {ANSWER_S:.0f} s: restart it if it "
                f"hangs"
            ) from None

    def page(self, message: str, **fields: object) -> tuple[Any, list[Any]]:
        """See ``Link``."""
        reply, details = self.call(message, **fields)
        return reply, details

    def on_event(self, message: str, take: Callable[[Any], None]) -> None:
        """See ``Link``."""
        self._takers[message] = take

    def _event(self, name: str, message: Any) -> None:
        """Called on vpp-papi's thread."""
        take = self._takers.get(name)
        if take is not None:
            take(message)

    def counters(self, names: Sequence[str]) -> list[list[int]]:
        """See ``Link``."""
        try:
            return [[values[0] for values in self._stats[name]] for name in names]
        except (KeyError, IndexError) as error:
            raise Unavailable(
                f"VPP's stats segment at {self._stats_path} has no {error}: is it the one of "
                f"{self._api}?"
            ) from None

    def close(self) -> None:
        """See ``Link``."""
        client = self._client
        for queue in (client.transport.q, client.transport.sque):
            queue.cancel_join_thread()  # what nobody reads any more must not hold up our end
        if client.transport.message_thread is not None:
            client.disconnect()
        elif client.transport.socket is not None:
            client.transport.socket.close()
        if self._stats is not None:
            with contextlib.suppress(BufferError):
                self._stats.disconnect()
