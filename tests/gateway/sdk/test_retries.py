"""The SDK tries again by itself; what it asked for once is made once, and paid for once."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import openai
import pytest

from cocoon_p2p.gateway import Settings
from cocoon_p2p.testing.engine import ScriptedEngine
from tests.gateway.sdk.scene import GENEROUS_SECONDS, HELLO, GatedEngine, Served, served, until

SAID = "Hello, world."
PROMPT_NANO = 2_100
"What the question's two tokens cost: the overlay's price, and five per cent."
PAUSE = "_calculate_retry_timeout"


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the SDK not wait before it tries again."""

    def at_once(*_: object) -> float:
        return 0.0

    monkeypatch.setattr(openai.OpenAI, PAUSE, at_once)


class Cutter:
    """Passes connections on to a gateway, but for the first, which it cuts off.

    Args:
        port: The gateway's.
        cut: What gets lost: the `request` (nothing of it is passed on), or the `answer` (nothing comes back).
        before_cut: Called when the request has been passed on; then both ends are cut off.
    """

    def __init__(self, port: int, cut: str, before_cut: Callable[[], None]) -> None:
        self.connections = 0
        self._port, self._cut, self._before_cut = port, cut, before_cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def run(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.connections > 1:
                threading.Thread(target=self._pass_on, args=(here,), daemon=True).start()
                continue
            with here:
                request = _whole_request(here)
                if self._cut == "answer":
                    with socket.create_connection(("127.0.0.1", self._port)) as there:
                        there.sendall(request)
                        self._before_cut()

    def _pass_on(self, here: socket.socket) -> None:
        with here, socket.create_connection(("127.0.0.1", self._port)) as there:
            back = threading.Thread(target=_copy, args=(there, here), daemon=True)
            back.start()
            _copy(here, there)
            back.join()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _whole_request(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65536)
    head, _, body = request.partition(b"\r\n\r\n")
    (length,) = (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < int(length.partition(b":")[2]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def cutting(gateway: Served, cut: str, before_cut: Callable[[], None] = lambda: None) -> Iterator[Cutter]:
    cutter = Cutter(int(gateway.url.rpartition(":")[2]), cut, before_cut)
    thread = threading.Thread(target=cutter.run, daemon=True)
    thread.start()
    try:
        yield cutter
    finally:
        cutter.close()
        thread.join(GENEROUS_SECONDS)


@cache
def price_of_one() -> int:
    """Say what one answer costs that nothing happens to."""
    with served(ScriptedEngine(delay_seconds=0)) as gateway:
        gateway.sdk().chat.completions.create(model="scripted", messages=HELLO)
        gateway.until_idle()
        return gateway.charged


def test_a_connection_that_is_lost_before_the_request_arrived_is_made_again() -> None:
    with served(ScriptedEngine(delay_seconds=0)) as gateway, cutting(gateway, "request") as cutter:
        sdk = gateway.sdk(base_url=cutter.url, max_retries=2)

        answer = sdk.chat.completions.create(model="scripted", messages=HELLO)

        gateway.until_idle()
        assert answer.choices[0].message.content == SAID
        assert (cutter.connections, len(gateway.engine.requests)) == (2, 1)
        assert gateway.charged == price_of_one()


def test_a_try_whose_connection_is_lost_costs_no_more_than_its_prompt() -> None:
    with served(GatedEngine()) as gateway:

        def lose() -> None:
            until(lambda: gateway.engine.running == 1)

        with cutting(gateway, "answer", lose) as cutter:
            sdk = gateway.sdk(base_url=cutter.url, max_retries=2)
            gateway.open_gate_when(lambda: cutter.connections == 2)

            answer = sdk.chat.completions.create(model="scripted", messages=HELLO)

            gateway.until_idle()
    assert answer.choices[0].message.content == SAID
    assert gateway.charged in (price_of_one(), price_of_one() + PROMPT_NANO)


def test_a_request_with_a_key_is_made_and_paid_once_however_often_it_is_sent() -> None:
    with served(ScriptedEngine(delay_seconds=0)) as gateway:

        def lose() -> None:
            until(lambda: gateway.charged > 0 and not gateway.engine.running)

        with cutting(gateway, "answer", lose) as cutter:
            sdk = gateway.sdk(base_url=cutter.url, max_retries=2)

            answer = sdk.chat.completions.create(
                model="scripted", messages=HELLO, extra_headers={"Idempotency-Key": "order-7"}
            )
            again = gateway.sdk().chat.completions.create(
                model="scripted", messages=HELLO, extra_headers={"Idempotency-Key": "order-7"}
            )

            gateway.until_idle()
        assert answer.choices[0].message.content == again.choices[0].message.content == SAID
        assert (cutter.connections, len(gateway.engine.requests)) == (2, 1)
        assert gateway.charged == price_of_one()


def test_a_try_after_a_timeout_gets_the_answer_that_was_being_made() -> None:
    with served(GatedEngine()) as gateway:
        responses: list[object] = []
        requests: list[object] = []

        def count(request: object) -> None:
            requests.append(request)
            if len(requests) == 2:
                gateway.open_gate()

        hooks = {"request": [count], "response": [responses.append]}
        # On a slow machine the second try may be too late as well.
        sdk = gateway.sdk(
            timeout=1.0, max_retries=20, http_client=openai.DefaultHttpxClient(event_hooks=hooks)
        )

        answer = sdk.chat.completions.create(model="scripted", messages=HELLO)

        gateway.until_idle()
        assert answer.choices[0].message.content == SAID
        assert len(gateway.engine.requests) == 1
        assert gateway.charged == price_of_one()


def test_a_busy_gateway_is_asked_again_and_answers() -> None:
    with served(GatedEngine(), settings=Settings(port=0, requests_max=1)) as gateway:
        statuses: list[int] = []

        def look(response: object) -> None:
            statuses.append(response.status_code)  # type: ignore[attr-defined]
            gateway.open_gate()

        http = openai.DefaultHttpxClient(event_hooks={"response": [look]})
        sdk = gateway.sdk(max_retries=1000, http_client=http)
        with gateway.asking(gateway.sdk()) as first:
            second = sdk.chat.completions.create(model="scripted", messages=HELLO)

        gateway.until_idle()
        assert first.result(GENEROUS_SECONDS).choices[0].message.content == SAID
        assert second.choices[0].message.content == SAID
        assert (statuses[0], statuses[-1], len(gateway.engine.requests)) == (503, 200, 2)
        assert gateway.charged == 2 * price_of_one()
