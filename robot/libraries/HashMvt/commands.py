# SPDX-License-Identifier: Apache-2.0
"""Keywords that run the commands as users do: as processes, on files."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot.api.deco import keyword
from scapy.layers.inet import IP
from scapy.layers.l2 import CookedLinux, Ether
from scapy.utils import PcapNgWriter, PcapReader, PcapWriter

from HashMvt import packets, wire
from HashMvt.settings import write_settings
from HashMvt.testbed import Testbed
from HashMvt.words import BadCapture, FileFormat, HostPort, Link

if TYPE_CHECKING:
    from scapy.packet import Packet

_LIMIT_S = 30.0
_RAW = 101
_CLIENTS = 16
_SERVER = HostPort(IPv4Address("192.0.2.1"), 53)


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    words: tuple[str, ...]
    exit_code: int
    out: str
    err: str

    def __str__(self) -> str:
        """Say it as a shell session."""
        return f"$ {' '.join(self.words)}\n{self.out}{self.err}[exit code {self.exit_code}]"


class Commands:
    """Runs ``hashmvt``. Its files lie in a folder that lives as long as the suite."""

    def __init__(self, testbed: Testbed) -> None:
        """Take the base configuration from a testbed."""
        self._testbed = testbed
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files = 0

    def _path(self, suffix: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="hashmvt-robot-")
        self._files += 1
        return Path(self._folder.name) / f"{self._files}{suffix}"

    @keyword
    def remove_files(self) -> None:
        """Remove everything that the keywords wrote."""
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    @keyword
    def run_hashmvt(self, *words: object) -> Finished:
        """Run ``hashmvt`` with these words until it ends; half a minute is too long.

        Raises:
            AssertionError: it did not end.

        """
        command = [str(Path(sys.executable).with_name("hashmvt")), *map(str, words)]
        try:
            done = subprocess.run(  # noqa: S603 - the command under test
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_LIMIT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{' '.join(command)} did not end in {_LIMIT_S:.0f} s") from error
        spelled = ("hashmvt", *map(str, words))
        return Finished(spelled, done.returncode, done.stdout, done.stderr)

    # ---- what became of it ----

    @keyword
    def command_should_succeed(self, done: Finished) -> None:
        """It ended with exit code 0 and complained of nothing."""
        if done.exit_code or done.err:
            raise AssertionError(str(done))

    @keyword
    def command_should_fail(self, done: Finished, exit_code: int, *parts: str) -> None:
        """It ended with this exit code, and its complaint has all of these parts.

        A complaint is for people: a sentence, never a trace of the program.
        """
        missing = [part for part in parts if part not in done.err]
        if done.exit_code != exit_code or missing or "Traceback" in done.err:
            raise AssertionError(f"{done}; missing: {missing}")

    @keyword
    def complaint_should_be_one_line(self, done: Finished) -> None:
        """It complained in one line."""
        if done.err.count("\n") != 1:
            raise AssertionError(str(done))

    @keyword
    def json_of(self, done: Finished) -> Any:
        """Return what it wrote as JSON."""
        return json.loads(done.out)

    @keyword
    def file_should_not_exist(self, path: Path) -> None:
        """Nothing was written there."""
        if path.exists():
            raise AssertionError(f"{path} was written")

    # ---- configurations ----

    @keyword
    def write_configuration(self, *changes: str) -> Path:
        """Write the base configuration with changes such as ``nat44.block_size=48``.

        Returns the file's path.
        """
        path = self._path(".yaml")
        settings: dict[str, object] = {}
        for change in changes:
            name, _, value = change.partition("=")
            settings[name] = value
        write_settings(path, self._testbed.base, settings)
        return path

    @keyword
    def missing_file(self, suffix: str = ".yaml") -> Path:
        """Return the path of a file that does not exist."""
        return self._path(suffix)

    # ---- captures ----

    @keyword
    def write_capture(
        self,
        count: int,
        *,
        link: Link = Link.ETHERNET,
        file_format: FileFormat = FileFormat.PCAP,
    ) -> Path:
        """Write a capture of ``count`` UDP packets from inside hosts, a second apart."""
        path = self._path(f".{file_format.value}")
        records: list[Packet] = []
        for number in range(count):
            client = HostPort(IPv4Address(f"10.0.0.{1 + number % _CLIENTS}"), 5000 + number)
            record: Packet = IP(packets.udp(client, _SERVER, b"captured"))
            match link:
                case Link.ETHERNET:
                    record = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / record
                case Link.COOKED:
                    record = CookedLinux() / record
                case Link.RAW:
                    pass
            record.time = 1_000_000_000 + number
            records.append(record)
        writer: Any
        if file_format is FileFormat.PCAPNG:
            writer = PcapNgWriter(str(path))
        else:
            kinds = {Link.ETHERNET: 1, Link.RAW: _RAW, Link.COOKED: 113}
            writer = PcapWriter(str(path), linktype=kinds[link])
        with writer:
            for record in records:
                writer.write(record)
        return path

    @keyword
    def bad_capture(self, kind: BadCapture) -> Path:
        """Return the path of what is no capture."""
        path = self._path(".pcap")
        match kind:
            case BadCapture.TEXT:
                path.write_text("no capture, but a text that is long enough to have a header\n")
            case BadCapture.EMPTY:
                path.touch()
            case BadCapture.MISSING:
                pass
        return path

    @keyword
    def cut_file(self, path: Path, *, off: int) -> None:
        """Take the last bytes off a file."""
        data = path.read_bytes()
        path.write_bytes(data[:-off])

    @keyword
    def translated_packets_of(self, path: Path) -> int:
        """Return how many packets of a capture come from the pool; all of them are sound.

        Raises:
            AssertionError: a packet's checksums or lengths are wrong.

        """
        with PcapReader(str(path)) as reader:
            found = [bytes(record[IP]) for record in reader if IP in record]
        wrong = wire.faults(found)
        if wrong:
            raise AssertionError("; ".join(wrong))
        return sum(self._testbed.in_base_pool(wire.header(data).source) for data in found)

    @keyword
    def files_should_be_equal(self, one: Path, other: Path) -> None:
        """They have the same bytes."""
        if one.read_bytes() != other.read_bytes():
            raise AssertionError(f"{one} and {other} differ")
