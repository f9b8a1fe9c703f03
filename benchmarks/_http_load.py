"""Asks one server for chats, so many at once, and tells how that went: the same script for every server.

    python benchmarks/_http_load.py URL KEY MODEL CONCURRENCY SECONDS TOKENS whole|stream

A connection each, bare sockets, the next question once the answer is there. Prints one object: answers a
second; of each answer's time and of its first byte's the median, and the 99th percentile of its time, in
milliseconds. An answer that is no success, or has not as many tokens as were asked for, ends the script.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from statistics import median
from urllib.parse import urlsplit


class Wrong(Exception):
    """The server did not do what it was asked for."""


@dataclass
class Load:
    host: str
    port: int
    request: bytes
    tokens: int
    whole_seconds: list[float] = field(default_factory=list[float])
    first_seconds: list[float] = field(default_factory=list[float])

    async def ask_until(self, end: float) -> None:
        """Ask again and again, on one connection while the server keeps it."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        while time.perf_counter() < end:
            if not await self._ask(reader, writer):
                writer.close()
                reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Ask once; say whether the connection may be used again."""
        started = time.perf_counter()
        writer.write(self.request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head[:16]:
            raise Wrong(f"no answer: {head[:200]!r} {await reader.read(500)!r}")
        body, first = bytearray(), 0.0
        if b"transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                first = first or time.perf_counter()
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            (length,) = (line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            body += await reader.readexactly(int(length.partition(b":")[2]))
        ended = time.perf_counter()
        # In a whole answer and in a stream alike: every token is spelled once.
        if (got := body.count(b" token")) != self.tokens:
            raise Wrong(f"an answer of {got} tokens, not {self.tokens}: {bytes(body[:500])!r}")
        self.whole_seconds.append(ended - started)
        self.first_seconds.append((first or ended) - started)
        return b"connection: close" not in head


async def main() -> None:
    url, key, model, concurrency, seconds, tokens, form = sys.argv[1:]
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": "How are you?"}],
        "max_tokens": int(tokens),
        "stream": form == "stream",
    }
    body, address = json.dumps(asked).encode(), urlsplit(url)
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        f"host: {address.netloc}",
        f"authorization: Bearer {key}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    request = "".join(f"{line}\r\n" for line in (*lines, "")).encode() + body
    assert address.hostname is not None
    assert address.port is not None
    load = Load(address.hostname, address.port, request, int(tokens))
    started = time.perf_counter()
    try:
        await asyncio.gather(*(load.ask_until(started + float(seconds)) for _ in range(int(concurrency))))
    except Wrong as error:
        sys.exit(str(error))
    passed = time.perf_counter() - started
    spans = sorted(load.whole_seconds)
    told = {
        "answers": len(spans),
        "answers_per_second": len(spans) / passed,
        "whole_ms": 1e3 * median(spans),
        "whole_p99_ms": 1e3 * spans[int(0.99 * len(spans))],
        "first_ms": 1e3 * median(load.first_seconds),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main())
