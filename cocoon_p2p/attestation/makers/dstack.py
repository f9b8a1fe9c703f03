"""Quotes from dstack: its agent answers HTTP on a Unix socket inside the machine.

dstack has extended RTMR3 itself (which application, which keys), and hands out the whole log
with each quote. Of that log only runtime events of RTMR3 are taken, and their digests are
made anew by whoever reads them.

Spec: dstack, guest agent API (GetQuote, EmitEvent).
"""

import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, cast

import trio

from cocoon_p2p.attestation.events import EVENT_TYPE
from cocoon_p2p.attestation.evidence import REPORT_DATA_SIZE_BYTES, RuntimeEvent
from cocoon_p2p.attestation.quote import trim_quote
from cocoon_p2p.errors import ConfigurationError, Unavailable

SOCKET = Path("/var/run/dstack.sock")

TIMEOUT_SECONDS = 30.0
"A quote is made by the host, which takes seconds when many are asked for."

_ANSWER_MAX_BYTES = 1024 * 1024
"The log of the whole boot comes along, in hexadecimal."

_RTMR3 = 3


class DstackMachine:
    """The machine that we run on, through dstack's agent."""

    def __init__(self, path: Path = SOCKET, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._lock = trio.Lock()

    async def measure(self, event: RuntimeEvent) -> None:
        """As `Machine.measure`."""
        async with self._lock:
            _, events = await self._ask_quote(bytes(REPORT_DATA_SIZE_BYTES))
            same = [logged for logged in events if logged.name == event.name]
            if same == [event]:
                return
            if same:
                raise ConfigurationError(
                    f"this boot has measured another {event.name}",
                    hint="restart the machine: what was measured cannot be taken back",
                )
            await self._ask("/EmitEvent", {"event": event.name, "payload": event.payload.hex()})

    async def quote(self, data: bytes) -> tuple[bytes, tuple[RuntimeEvent, ...]]:
        """As `Machine.quote`."""
        assert len(data) == REPORT_DATA_SIZE_BYTES
        async with self._lock:
            return await self._ask_quote(data)

    async def _ask_quote(self, data: bytes) -> tuple[bytes, tuple[RuntimeEvent, ...]]:
        answer = await self._ask("/GetQuote", {"report_data": data.hex()})
        try:
            fields = cast("dict[str, Any]", json.loads(answer))
            return trim_quote(bytes.fromhex(fields["quote"])), _read_log(fields["event_log"])
        except (ValueError, TypeError, KeyError, RecursionError) as exc:
            raise Unavailable(f"dstack's answer is not understood: {exc!s:.160}") from exc

    async def _ask(self, path: str, body: dict[str, str]) -> bytes:
        try:
            # The thread ends by its timeout, so a cancel need not wait for it.
            return await trio.to_thread.run_sync(
                _post, self._path, path, json.dumps(body), self._timeout_seconds, abandon_on_cancel=True
            )
        except (OSError, HTTPException) as exc:
            raise Unavailable(
                f"dstack does not answer: {exc!s:.160} (socket={self._path})",
                hint="mount dstack's socket into the container",
            ) from exc


class _UnixConnection(HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("dstack", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _post(path: Path, target: str, body: str, timeout_seconds: float) -> bytes:
    connection = _UnixConnection(path, timeout_seconds)
    try:
        connection.request("POST", target, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read(_ANSWER_MAX_BYTES + 1)
    finally:
        connection.close()
    if response.status != 200:
        raise HTTPException(f"status {response.status} for {target}")
    if len(answer) > _ANSWER_MAX_BYTES:
        raise HTTPException(f"more than {_ANSWER_MAX_BYTES} bytes for {target}")
    return answer


def _read_log(text: str) -> tuple[RuntimeEvent, ...]:
    entries = cast("list[dict[str, Any]]", json.loads(text))
    return tuple(_read_event(entry) for entry in entries if entry["imr"] == _RTMR3)


def _read_event(entry: dict[str, Any]) -> RuntimeEvent:
    if entry["event_type"] != EVENT_TYPE:
        raise ValueError(
            f"RTMR3 was extended by something else than a runtime event ({entry['event']!r:.64})"
        )
    return RuntimeEvent(str(entry["event"]), bytes.fromhex(entry["event_payload"]))
