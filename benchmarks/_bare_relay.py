"""The bare limit that `relay.py` measures against: the least that a trio program can do with a frame.

    python benchmarks/_bare_relay.py forward
    python benchmarks/_bare_relay.py send PORT STREAMS SIZE_BYTES PAUSE_SECONDS

`forward` prints its port and joins connections to it in pairs: each begins with `r` (it reads) or
`w` (it writes) and the number of its stream. `send` writes frames on many streams. A frame costs
the forwarder one read and one write: no secrecy, no streams that share a connection, no messages,
no money.
"""

import sys

import trio

HEAD_SIZE_BYTES = 2
READ_SIZE_BYTES = 64 * 1024


async def forward() -> None:
    """Join a reader's and a writer's connection of the same number, and pass bytes on."""
    sinks: dict[bytes, trio.SocketStream] = {}
    come = trio.Condition()

    async def serve(stream: trio.SocketStream) -> None:
        head = bytes(await _exactly(stream, HEAD_SIZE_BYTES + 1))
        number = head[1:]
        if head[:1] == b"r":
            async with come:
                sinks[number] = stream
                come.notify_all()
            await trio.sleep_forever()
        async with come:
            while number not in sinks:
                await come.wait()
        try:
            while data := await stream.receive_some(READ_SIZE_BYTES):
                await sinks[number].send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        print(listeners[0].socket.getsockname()[1], flush=True)


async def send(port: int, streams: int, size_bytes: int, pause_seconds: float) -> None:
    """Send frames on every stream, each after a pause, until killed."""

    async def one(number: int) -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"w" + number.to_bytes(HEAD_SIZE_BYTES, "big"))
        while True:
            await trio.sleep(pause_seconds)
            await stream.send_all(bytes(size_bytes))

    async with trio.open_nursery() as nursery:
        for number in range(streams):
            nursery.start_soon(one, number)


async def _exactly(stream: trio.SocketStream, size_bytes: int) -> bytearray:
    data = bytearray()
    while len(data) < size_bytes:
        data += await stream.receive_some(size_bytes - len(data))
    return data


if __name__ == "__main__":
    if sys.argv[1] == "forward":
        trio.run(forward)
    else:
        trio.run(send, int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
