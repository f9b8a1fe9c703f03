"""The server itself: what it bears, what it does not wait for, and how it ends."""

import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import httpx
import pytest
import trio
import trio.testing
from starlette.types import Receive, Scope, Send

from cocoon_p2p.client import Budget, Client, Offered
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.gateway import Settings, bodies, serve
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.units import Nano
from cocoon_p2p.web.connections import Connections
from tests.gateway.scene import SDK, Scene, chunks_of, error_of, open_gateway, until
from tests.gateway.test_door import ANN, SomeKeys

SETTINGS = Settings(port=0)
LONG = tuple(f"word{number} " for number in range(1000))


@asynccontextmanager
async def _serving(
    app: Callable[[Scope, Receive, Send], Awaitable[None]], settings: Settings = SETTINGS
) -> AsyncIterator[tuple[Connections, int]]:
    """Serve an app as the gateway's is served, with small buffers below it."""
    connections = Connections(app, settings)
    listening = trio.socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    await listening.bind(("127.0.0.1", 0))
    listening.listen()
    async with trio.open_nursery() as nursery:
        listener = trio.SocketListener(listening)
        nursery.start_soon(trio.serve_listeners, connections.serve, [listener])
        yield connections, listening.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _flood(scope: Scope, receive: Receive, send: Send) -> None:
    """Say more than any buffer takes, until told that nobody is there."""

    async def pour() -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pour)
        while (await receive())["type"] != "http.disconnect":
            pass
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_client_that_does_not_read_loses_its_connection() -> None:
    async with _serving(_flood, replace(SETTINGS, send_seconds=0.1)) as (connections, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")

        assert await stream.receive_some(1)
        await until(lambda: connections.open == 0)
        await stream.aclose()


@pytest.mark.slow
async def test_one_connection_too_many_is_closed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with _serving(app, replace(SETTINGS, connections_max=1)) as (connections, port):
        first = await trio.open_tcp_stream("127.0.0.1", port)
        await until(lambda: connections.open == 1)
        second = await trio.open_tcp_stream("127.0.0.1", port)

        with trio.fail_after(30):
            assert await second.receive_some(1) == b""
        await first.send_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await first.receive_some(100)).startswith(b"HTTP/1.1 204")
        await first.aclose()
        await second.aclose()


async def _answer_to(scope: Scope, receive: Receive, send: Send) -> None:
    body = scope["path"].encode()
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.slow
async def test_requests_that_are_sent_ahead_are_answered_in_turn() -> None:
    async with _serving(_answer_to) as (_, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        for path in "abc":
            await stream.send_all(f"GET /{path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())

        said = b""
        with trio.fail_after(30):
            while said.count(b"HTTP/1.1 200") < 3 or not said.endswith(b"/c"):
                said += await stream.receive_some(1000)
        assert said.index(b"/a") < said.index(b"/b") < said.index(b"/c")
        await stream.aclose()


@pytest.mark.slow
async def test_who_offers_http_2_is_answered_in_http_1(caplog: pytest.LogCaptureFixture) -> None:
    offer = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    async with _serving(_answer_to) as (connections, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        for path in "ab":
            await stream.send_all(f"GET /{path} HTTP/1.1\r\nhost: localhost\r\n{offer}\r\n".encode())
            said = b""
            with trio.fail_after(30):
                while not said.endswith(f"/{path}".encode()):
                    said += await stream.receive_some(1000)
            assert said.startswith(b"HTTP/1.1 200")
        await stream.aclose()

        known = await trio.open_tcp_stream("127.0.0.1", port)
        await known.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
        with trio.fail_after(30):
            assert (await known.receive_some(1000)).startswith(b"HTTP/1.1")
        await known.aclose()
        await until(lambda: connections.open == 0)

    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


@pytest.mark.slow
async def test_who_sends_without_waiting_for_answers_loses_its_connection() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep_forever()

    async with _serving(never) as (connections, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n" * 2)
        await until(lambda: connections.open == 1)
        with suppress(trio.BrokenResourceError):
            await stream.send_all(bytes(200_000))

        await until(lambda: connections.open == 0)
        await stream.aclose()


@pytest.mark.slow
async def test_bodies_are_bounded_while_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SIZE_MAX_BYTES", 200_000)

    async def unsaid() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield bytes(65_536)

    async with open_gateway() as scene:
        post = scene.http.post
        said = await post("/v1/chat/completions", content=bytes(200_001))
        read = await _whatever_is_said(scene, unsaid())
        fine = await scene.chat()

        assert (said.status_code, error_of(said)["code"]) == (413, "too-large")
        assert read in (413, None)
        assert fine.status_code == 200


async def _whatever_is_said(scene: Scene, content: AsyncIterator[bytes]) -> int | None:
    """Send without saying how much; None: the connection was closed before the client saw the answer."""
    async with httpx.AsyncClient(base_url=scene.url, timeout=30) as http:
        try:
            return (await http.post("/v1/chat/completions", content=content)).status_code
        except httpx.TransportError:
            return None


@pytest.mark.slow
async def test_a_body_that_nobody_reads_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, list_models = trio.Event(), trio.Event(), Client.models

    async def models(client: Client) -> tuple[Offered, ...]:
        """As if nobody had offered anything yet."""
        begun.set()
        await go_on.wait()
        return await list_models(client)

    async with open_gateway(settings=replace(SETTINGS, requests_max=1)) as scene:
        monkeypatch.setattr(Client, "models", models)
        host, _, port = scene.url.removeprefix("http://").partition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        head = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        with trio.fail_after(30):
            await stream.send_all(head + b"1\r\n-\r\n" * 50)
            await begun.wait()
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
            assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 200")
            await stream.aclose()

            while (await scene.http.get("/v1/models")).status_code != 200:
                await trio.lowlevel.checkpoint()


@pytest.mark.slow
async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with open_gateway(settings=replace(SETTINGS, body_seconds=0.05)) as scene:
        host, _, port = scene.url.removeprefix("http://").partition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n"
        await stream.send_all(head)

        with trio.fail_after(30):
            assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 408")
        await stream.aclose()


@pytest.mark.slow
async def test_a_silent_stream_says_that_it_is_there_and_a_late_error_is_its_end() -> None:
    engine = ScriptedEngine(LONG, delay_seconds=0, stall_at=0)
    settings = replace(SETTINGS, silence_seconds=0.02, answer_seconds=0.5)
    async with open_gateway(engine, settings=settings) as scene:
        response = await scene.chat(stream=True)

        *comments, error, done = [line for line in response.text.split("\n\n") if line]
        assert response.status_code == 200
        assert set(comments) == {": still here"}
        assert '"code":"deadline"' in error
        assert done == "data: [DONE]"


@pytest.mark.slow
async def test_told_to_stop_it_lets_an_answer_end() -> None:
    engine = ScriptedEngine(LONG[:20], delay_seconds=0.002)
    async with open_gateway(engine) as scene:
        async with trio.open_nursery() as nursery:
            responses: list[httpx.Response] = []

            async def ask() -> None:
                responses.append(await scene.chat(stream=True))

            nursery.start_soon(ask)
            await until(lambda: bool(engine.requests))
            scene.stop.set()

        text = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks_of(responses[0])]
        assert "".join(text) == "".join(LONG[:20])
        with pytest.raises(httpx.ConnectError):
            await until_refused(scene)


async def until_refused(scene: Scene) -> None:
    """Ask on new connections until there is nobody."""
    with trio.fail_after(30):
        while True:
            # One that was taken just before the end is cut.
            with suppress(httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                async with httpx.AsyncClient(base_url=scene.url) as http:
                    await http.get("/healthz")


@pytest.mark.slow
async def test_an_answer_that_does_not_end_in_time_is_cut_off_and_its_client_told() -> None:
    engine = ScriptedEngine(LONG, delay_seconds=0, stall_at=16)
    async with open_gateway(engine, settings=replace(SETTINGS, grace_seconds=0.05)) as scene:
        async with trio.open_nursery() as nursery:
            responses: list[httpx.Response] = []

            async def ask() -> None:
                responses.append(await scene.chat(headers=SDK))

            nursery.start_soon(ask)
            await scene.stalled(16)
            scene.stop.set()

        (response,) = responses
        assert (response.status_code, error_of(response)["code"]) == (503, "ending")
        assert error_of(response)["cocoon"]["charged"] == scene.charged > 0
        assert response.headers["x-should-retry"] == "false"
        assert engine.running == 0


async def test_strangers_are_not_served_for_nothing() -> None:
    for keys in (None, SomeKeys()):
        with pytest.raises(ConfigurationError, match="no API key"):
            await serve(None, replace(SETTINGS, host="0.0.0.0"), keys=keys)  # type: ignore[arg-type]


async def test_a_name_is_no_address_to_listen_on() -> None:
    with pytest.raises(ConfigurationError, match="address"):
        await serve(None, replace(SETTINGS, host="example.org"))  # type: ignore[arg-type]


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1 port {port}"):
            await serve(None, replace(SETTINGS, port=port))  # type: ignore[arg-type]


@pytest.mark.slow
async def test_a_key_is_asked_for_on_a_real_socket() -> None:
    async with open_gateway(keys=SomeKeys(ANN)) as scene:
        nobody = await scene.chat()
        health = await scene.http.get("/healthz")
        ann = await scene.chat(headers={"authorization": "Bearer sk-cocoon-ann"})

        assert (nobody.status_code, error_of(nobody)["code"]) == (401, "invalid_api_key")
        assert health.status_code == 200
        assert ann.status_code == 200
        assert (await scene.overlay.client.purses.look(ANN.purse)).spent == scene.charged


@pytest.mark.slow
async def test_a_spent_budget_is_openais_own_error_and_is_not_tried_again() -> None:
    ann = {"authorization": "Bearer sk-cocoon-ann"}
    async with open_gateway(keys=SomeKeys(ANN)) as scene:
        await scene.overlay.client.purses.allow(ANN.purse, Budget(Nano(1), every_seconds=86_400))

        response = await scene.chat(headers=ann)

        assert (response.status_code, error_of(response)["code"]) == (429, "insufficient_quota")
        assert 0 < int(response.headers["retry-after"]) <= 86_400
        assert response.headers["x-should-retry"] == "false"
        assert scene.charged == 0
