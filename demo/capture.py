# SPDX-License-Identifier: Apache-2.0
"""Writes every IPv4 packet of one device to a pcap file: ``python -m demo.capture DEVICE FILE``.

Says ``ready``; when standard input ends, it writes what is still queued and says
``done PACKETS LOST``, where LOST is what the kernel could not queue.
"""

from __future__ import annotations

import selectors
import socket
import struct
import sys
import time
from pathlib import Path

from demo.packets import pcap_open, pcap_write

ETH_P_ALL = 3  # the only kind that also sees what the kernel sends
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE = 33
QUEUE_BYTES = 512 << 20


def capture(device: str, path: Path) -> None:
    """Capture until standard input ends."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, QUEUE_BYTES)
    sock.bind((device, ETH_P_ALL))
    sock.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(sock, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    count = 0
    running = True
    with pcap_open(path) as file:
        print("ready", flush=True)
        while running:
            running = all(key.fileobj is sock for key, _ in selector.select())
            now = time.time_ns() // 1000
            try:
                while True:
                    packet = sock.recv(65536)
                    if packet[:1] and packet[0] >> 4 == 4:
                        pcap_write(file, packet, now)
                        count += 1
            except BlockingIOError:
                pass
            except OSError as error:
                sys.exit(f"capture on {device}: {error}")
    _, lost = struct.unpack("II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
    print("done", count, lost, flush=True)


if __name__ == "__main__":
    capture(sys.argv[1], Path(sys.argv[2]))
