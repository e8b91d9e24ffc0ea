# SPDX-License-Identifier: Apache-2.0
"""Millions of mappings out of VPP's binary API: vpp-papi decodes some thousand a second.

vpp-papi connects and knows the messages; then its socket is read in large pieces, and of a mapping
only the inside endpoint is looked at.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAME = struct.Struct(">QII")
"""VPP's header of a message on a socket: the second field is the length of what follows."""
MESSAGE = struct.Struct(">H")
INSIDE = struct.Struct(">HIBI12xH")
"""Of a mapping: message, context, family, inside address and port."""
EAGAIN = -165
PIECE = 1 << 20


def pages(client: Any, size: int, where: dict[str, Any]) -> Iterator[list[tuple[int, int]]]:
    """Yield the inside addresses and ports of mappings, page by page.

    ``client`` is a connection of vpp-papi that is good for nothing else afterwards.

    Raises:
        OSError: VPP refused, or closed the connection.

    """
    transport = client.transport
    transport.sque.put(True)  # as its ``disconnect`` does: nobody else reads
    transport.message_thread.join()
    ask = client.messages["hashmvt_mapping_get"]
    request = {
        "_vl_msg_id": client.id_names.index("hashmvt_mapping_get"),
        "client_index": transport.socket_index,
        "context": 1,
        "cursor": 0,
        "max": size,
        "filter": where,
    }
    details = client.id_names.index("hashmvt_mapping_details")
    ended = client.id_names.index("hashmvt_mapping_get_reply")
    page: list[tuple[int, int]] = []
    transport.write(ask.pack(request))
    for message in messages(transport.socket):
        [kind] = MESSAGE.unpack_from(message)
        if kind == details:
            page.append(INSIDE.unpack_from(message)[3:])
        elif kind == ended:
            reply = client.decode_incoming_msg(bytes(message))
            if reply.retval not in (0, EAGAIN):
                raise OSError(f"hashmvt_mapping_get returned {reply.retval}")
            yield page
            if reply.retval == 0:
                return
            page = []
            request["cursor"] = reply.cursor
            transport.write(ask.pack(request))


def messages(socket: Any) -> Iterator[memoryview]:
    """Yield what comes, without frames."""
    data = b""
    while True:
        more = socket.recv(PIECE)
        if not more:
            raise OSError("VPP closed the connection")
        data += more
        view, at = memoryview(data), 0
        while at + FRAME.size <= len(data):
            end = at + FRAME.size + FRAME.unpack_from(data, at)[1]
            if end > len(data):
                break
            yield view[at + FRAME.size : end]
            at = end
        data = data[at:]
