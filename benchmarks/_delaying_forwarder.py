"""A long way between two processes of one machine: TCP, each byte late by the same time.

    python benchmarks/_delaying_forwarder.py PORT ONE_WAY_SECONDS

Prints the port it listens on. It delays what is sent, not the rate, and not TCP's own handshake.
"""

import sys

import trio

READ_SIZE_BYTES = 1 << 20
WAITING_MAX = 4096


async def forward(port: int, delay_seconds: float) -> None:
    """Join each connection to one to `port`."""

    async def serve(near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream("127.0.0.1", port)
        async with near, far, trio.open_nursery() as nursery:
            nursery.start_soon(one_way, near, far)
            nursery.start_soon(one_way, far, near)

    async def one_way(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        send, receive = trio.open_memory_channel[tuple[float, bytes]](WAITING_MAX)

        async def deliver() -> None:
            async for due, data in receive:
                await trio.sleep_until(due)
                await sink.send_all(data)
            await sink.send_eof()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(deliver)
                async with send:
                    while data := await source.receive_some(READ_SIZE_BYTES):
                        await send.send((trio.current_time() + delay_seconds, bytes(data)))
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        print(listeners[0].socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    trio.run(forward, int(sys.argv[1]), float(sys.argv[2]))
