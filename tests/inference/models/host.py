"""A host of files that cuts, lies and stalls as it is told: HTTP/1.1 by hand, on loopback."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

_RANGE = re.compile(r"bytes=(\d+)-")


@dataclass
class Hosted:
    """One file as it is served, and the ways in which that goes wrong."""

    data: bytes
    etag: str = '"one"'
    cuts: list[int | None] = field(default_factory=list)
    "For each answer to come: after how many bytes of its body the connection ends. None: not at all."

    knows_ranges: bool = True
    status: int = 0
    "What is answered instead, for as many times as `failures` says."

    failures: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    "More headers; an empty value takes one away."

    extra: bytes = b""
    "Sent behind the body."

    location: str = ""
    stalls_after: int | None = None
    "Bytes after which the first answer falls silent."

    fell_silent: trio.Event = field(default_factory=trio.Event)
    change: Callable[["Hosted"], None] | None = None
    "Called after each answer."


@dataclass
class Host:
    """What is served, and what was asked."""

    url: str = ""
    files: dict[str, Hosted] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    "Path and headers of each request."

    def put(self, path: str, data: bytes, **how: object) -> Hosted:
        self.files[path] = Hosted(data, **how)  # type: ignore[arg-type]
        return self.files[path]

    def ranges(self, path: str) -> list[str]:
        """The ranges asked for, one a request."""
        return [headers.get("range", "") for asked, headers in self.asked if asked == path]

    async def answer(self, stream: trio.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += (some := await stream.receive_some())
                if not some:
                    return
            line, *rest = head.decode("latin-1").split("\r\n")
            path = line.split()[1]
            headers = {key.lower(): value for key, _, value in (one.partition(": ") for one in rest)}
            self.asked.append((path, headers))
            hosted = self.files.get(path)
            if hosted is None:
                await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                return
            await _send(stream, hosted, headers)
            if hosted.change is not None:
                hosted.change(hosted)


async def _send(stream: trio.SocketStream, hosted: Hosted, asked: dict[str, str]) -> None:
    status, start, headers = 200, 0, {"ETag": hosted.etag, "Connection": "close"}
    found = _RANGE.fullmatch(asked.get("range", ""))
    if hosted.location:
        status, headers["Location"] = 302, hosted.location
    elif hosted.failures:
        hosted.failures -= 1
        status = hosted.status
    elif found and hosted.knows_ranges and asked.get("if-range", hosted.etag) == hosted.etag:
        status, start, size = 206, int(found[1]), len(hosted.data)
        headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        if start >= size:
            status, headers["Content-Range"] = 416, f"bytes */{size}"
    body = hosted.data[start:] if status in (200, 206) else b""
    headers["Content-Length"] = str(len(body))
    headers |= hosted.headers
    head = "".join(f"{key}: {value}\r\n" for key, value in headers.items() if value)
    cut = hosted.cuts.pop(0) if hosted.cuts and status in (200, 206) else None
    body = body[:cut] if cut is not None else body + hosted.extra
    await stream.send_all(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode())
    if hosted.stalls_after is not None:
        await stream.send_all(body[: hosted.stalls_after])
        hosted.stalls_after = None
        hosted.fell_silent.set()
        await trio.sleep_forever()
    await stream.send_all(body)


@asynccontextmanager
async def open_host() -> AsyncIterator[Host]:
    """Serve files on a port of 127.0.0.1 while the block runs."""
    host = Host()

    async def answer(stream: trio.SocketStream) -> None:
        # The other side may have had enough.
        with suppress(trio.BrokenResourceError):
            await host.answer(stream)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        host.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        yield host
        nursery.cancel_scope.cancel()
