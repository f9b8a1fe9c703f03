"""Quotes from the Linux kernel: configfs-tsm for quotes, the measurement register for RTMR3.

One folder is made for each quote, so that nobody else writes into ours; the kernel fills it
with files, signs what is written to `inblob`, and the folder is removed. What RTMR3 was
extended with is written down before it is done, in a file that lives as long as the boot does
(RTMR3 outlives this process): after a crash between the two the register itself says which.

Spec: Linux, Documentation/ABI/testing/configfs-tsm-report (6.7), sysfs-devices-virtual-misc-tdx_guest (6.16).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import trio

from cocoon_p2p.attestation.events import REGISTER_SIZE_BYTES, event_digest, replay
from cocoon_p2p.attestation.evidence import REPORT_DATA_SIZE_BYTES, RuntimeEvent
from cocoon_p2p.attestation.files import replace_file
from cocoon_p2p.attestation.quote import trim_quote
from cocoon_p2p.errors import ConfigurationError, MalformedMessage, Unavailable
from cocoon_p2p.protocols.ids import EVENTS_MAX, TD_QUOTE_SIZE_MAX_BYTES
from cocoon_p2p.protocols.schema import Key, Max, decode_paper, encode_paper

REPORTS = Path("/sys/kernel/config/tsm/report")
RTMR3 = Path("/sys/devices/virtual/misc/tdx_guest/measurements/rtmr3:sha384")
LOG = Path("/run/cocoon/rtmr3.cbor")

_PROVIDER = b"tdx_guest"
_READ_MAX_BYTES = 2 * TD_QUOTE_SIZE_MAX_BYTES
"A provider may pad its quote with zeros."


@dataclass(frozen=True, slots=True)
class _Log:
    events: Annotated[tuple[RuntimeEvent, ...], Key(1), Max(EVENTS_MAX)]


class ReportFolder:
    """The kernel's folder of reports, one operation a method."""

    def __init__(self, path: Path = REPORTS) -> None:
        self._path = path

    def make(self, name: str) -> None:
        (self._path / name).mkdir()

    def write(self, name: str, attribute: str, data: bytes) -> None:
        """Write an attribute in one call: a second one would start over."""
        _write_whole(self._path / name / attribute, data)

    def read(self, name: str, attribute: str) -> bytes:
        with (self._path / name / attribute).open("rb", buffering=0) as file:
            return _read_whole(file.fileno())

    def remove(self, name: str) -> None:
        (self._path / name).rmdir()


class Register:
    """RTMR3 as the kernel shows it: reading gives its value, writing extends it."""

    def __init__(self, path: Path = RTMR3) -> None:
        self._path = path

    def read(self) -> bytes:
        return self._path.read_bytes()

    def extend(self, digest: bytes) -> None:
        assert len(digest) == REGISTER_SIZE_BYTES
        _write_whole(self._path, digest)


class ConfigfsMachine:
    """The machine that we run on, through its kernel. One object a process: the lock is in it."""

    def __init__(
        self,
        *,
        reports: ReportFolder | None = None,
        register: Register | None = None,
        log: Path = LOG,
    ) -> None:
        self._reports = reports or ReportFolder()
        self._register = register or Register()
        self._log = log
        self._lock = trio.Lock()
        self._quotes = 0

    async def measure(self, event: RuntimeEvent) -> None:
        """As `Machine.measure`."""
        async with self._lock:
            await trio.to_thread.run_sync(self._measure, event)

    async def quote(self, data: bytes) -> tuple[bytes, tuple[RuntimeEvent, ...]]:
        """As `Machine.quote`. The kernel asks the host, which may take seconds."""
        async with self._lock:
            return await trio.to_thread.run_sync(partial(self._quote, data))

    def _measure(self, event: RuntimeEvent) -> None:
        with _in_our_words():
            events = self._settle(self._read_log())
            same = [logged for logged in events if logged.name == event.name]
            if same == [event]:
                return
            if same:
                raise ConfigurationError(
                    f"this boot has measured another {event.name}",
                    hint="restart the machine: what was measured cannot be taken back",
                )
            replace_file(self._log, encode_paper(_Log((*events, event))))
            self._register.extend(event_digest(event))
            self._settle((*events, event))

    def _settle(self, events: tuple[RuntimeEvent, ...]) -> tuple[RuntimeEvent, ...]:
        """See that the register is what the log says; do what a crash left undone."""
        register = self._register.read()
        if events and register == replay(events[:-1]) != replay(events):
            self._register.extend(event_digest(events[-1]))
            register = self._register.read()
        if register != replay(events):
            raise ConfigurationError(
                "RTMR3 holds what our log does not say",
                hint="another program has extended it, or the log was lost: restart the machine",
            )
        return events

    def _quote(self, data: bytes) -> tuple[bytes, tuple[RuntimeEvent, ...]]:
        assert len(data) == REPORT_DATA_SIZE_BYTES
        with _in_our_words():
            events = self._settle(self._read_log())
            self._quotes += 1
            name = f"cocoon-{os.getpid()}-{self._quotes}"
            self._reports.make(name)
            try:
                return self._report(name, data), events
            finally:
                self._reports.remove(name)

    def _report(self, name: str, data: bytes) -> bytes:
        provider = self._reports.read(name, "provider").strip()
        if provider != _PROVIDER:
            raise Unavailable(f"the kernel's reports are not of TDX (provider={provider[:32]!r})")
        before = int(self._reports.read(name, "generation"))
        self._reports.write(name, "inblob", data)
        quote = self._reports.read(name, "outblob")
        # One write was ours; with another in between, the quote may be of other bytes.
        if int(self._reports.read(name, "generation")) != before + 1:
            raise Unavailable("somebody else wrote into our report")
        if len(quote) > _READ_MAX_BYTES:
            raise Unavailable(f"the kernel's quote is too long (max={_READ_MAX_BYTES} bytes)")
        return trim_quote(quote)

    def _read_log(self) -> tuple[RuntimeEvent, ...]:
        try:
            return decode_paper(_Log, self._log.read_bytes()).events
        except FileNotFoundError:
            return ()
        except MalformedMessage as exc:
            raise ConfigurationError(f"{self._log} is damaged", hint="restart the machine") from exc


def _write_whole(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        if os.write(descriptor, data) != len(data):
            raise Unavailable(f"the kernel took only a part (file={path.name})")
    finally:
        os.close(descriptor)


def _read_whole(descriptor: int) -> bytes:
    """Read an attribute to its end, or a little past what is ever accepted."""
    parts: list[bytes] = []
    left = _READ_MAX_BYTES + 1
    while left and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as exc:
        raise Unavailable(
            f"the kernel gives no quote: {exc!s:.160}",
            hint="this needs a TDX guest with configfs mounted, Linux 6.16 or newer, and the rights to both",
        ) from exc
