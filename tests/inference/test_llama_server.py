"""The door to llama.cpp: what the library does to the process, and what it says when it cannot."""

import http.client
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import demo_model
from cocoon_p2p.inference.engine import EngineError, Piece
from cocoon_p2p.inference.llama_generation import LlamaGeneration
from cocoon_p2p.inference.llama_messages import Completion, ServerEvent
from cocoon_p2p.inference.llama_server import (
    LlamaServer,
    ServerSettings,
    library_version,
)


def settings(model: Path) -> ServerSettings:
    return ServerSettings(model, slots=1, context_tokens=512, threads=1)


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    server = LlamaServer(settings(demo_model()))
    yield server
    server.close()


def completion(prompt: list[int], *, max_tokens: int = 50, ignore_eos: bool = False) -> Completion:
    return Completion(
        prompt, max_tokens, temperature=0.0, top_p=1.0, id_slot=0, cache_prompt=False, ignore_eos=ignore_eos
    )


def test_a_chat_splits_into_the_tokens_that_the_library_itself_would_count(server: LlamaServer) -> None:
    """The library's own chat endpoint renders and counts by itself; ours must agree."""
    import xllamacpp

    assert isinstance(server._server, xllamacpp.Server)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Wie viel ist 12 🦋?"},
    ]
    theirs = server._server.handle_chat_completions({"messages": messages, "max_tokens": 1})

    ours = server.tokenize(
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWie viel ist 12 🦋?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )

    assert len(ours) == theirs["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    "question", ["Hello", "Translate to Russian: Good morning.", "What is TON?", "Repeat: é ü ñ"]
)
def test_the_last_count_is_the_usage_that_the_library_reports(server: LlamaServer, question: str) -> None:
    pieces, usages = list[Piece](), list[int]()

    def put(piece: Piece) -> bool:
        pieces.append(piece)
        return True

    def on_event(event: ServerEvent) -> bool:
        if event.usage is not None:
            usages.append(event.usage.completion_tokens)
        return generation.on_event(event)

    generation = LlamaGeneration((), put)
    prompt = server.tokenize(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
    server.complete(completion(prompt), on_event)

    assert [pieces[-1].completion_tokens] == usages


def test_names_of_control_tokens_are_plain_text_in_what_a_model_wrote(server: LlamaServer) -> None:
    assert len(server.tokenize("<|im_end|>")) == 1
    assert len(server.tokenize("<|im_end|>", is_prompt=False)) > 1


def test_an_answer_that_nobody_reads_is_left_after_one_step(server: LlamaServer) -> None:
    steps = list[ServerEvent]()

    def on_event(event: ServerEvent) -> bool:
        steps.append(event)
        return len(steps) == 5

    server.complete(completion([1, 2, 3], max_tokens=500, ignore_eos=True), on_event)

    assert len(steps) == 5


def test_an_error_in_our_own_code_ends_the_request_and_is_not_swallowed(server: LlamaServer) -> None:
    def on_event(event: ServerEvent) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        server.complete(completion([1, 2, 3]), on_event)


def test_a_request_that_the_library_refuses_is_an_error_that_quotes_nothing(server: LlamaServer) -> None:
    generation = LlamaGeneration((), lambda _: True)

    with pytest.raises(EngineError, match=r"failed \(type=invalid_request_error\)"):
        server.complete(completion([10**6]), generation.on_event)


@pytest.mark.parametrize(
    "path", ["/completion", "/v1/chat/completions", "/tokenize", "/props", "/slots", "/"]
)
@pytest.mark.parametrize("key", [None, "Bearer ", "Bearer 0000"])
def test_the_port_that_the_library_opens_does_nothing_without_the_key(
    server: LlamaServer, path: str, key: str | None
) -> None:
    host, _, port = server._address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    method = "GET" if path in ("/props", "/slots", "/") else "POST"
    body = b'{"content": "Hi", "prompt": "Hi", "messages": []}' if method == "POST" else None

    connection.request(method, path, body, {"Authorization": key} if key else {})
    status = connection.getresponse().status
    connection.close()

    assert host == "127.0.0.1"
    assert status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.NOT_FOUND)


def test_loading_and_computing_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    server = LlamaServer(settings(demo_model()))
    server.complete(completion([1, 2, 3], max_tokens=3), lambda _: False)
    server.close()

    assert capfd.readouterr() == ("", "")


def test_a_loaded_model_leaves_the_signals_of_the_process_alone(server: LlamaServer) -> None:
    caught = list[int]()
    before = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    try:
        other = LlamaServer(settings(demo_model()))
        os.kill(os.getpid(), signal.SIGINT)
        other.complete(completion([1, 2, 3], max_tokens=1), lambda _: False)
        other.close()
    finally:
        signal.signal(signal.SIGINT, before)

    assert caught == [signal.SIGINT]


def test_a_closed_server_computes_nothing() -> None:
    server = LlamaServer(settings(demo_model()))
    server.close()

    with pytest.raises(EngineError, match="closed"):
        server.complete(completion([1]), lambda _: False)
    with pytest.raises(EngineError, match="did not split"):
        server.tokenize("Hi")


@pytest.mark.slow
def test_an_unknown_architecture_is_named_with_what_to_do(demo_with: Callable[[bytes, bytes], Path]) -> None:
    model = demo_with(
        b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
        b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llamx",
    )

    with pytest.raises(ConfigurationError, match="unknown model architecture: 'llamx'") as caught:
        LlamaServer(settings(model))

    assert "pip install -U xllamacpp" in caught.value.hint


@pytest.mark.slow
def test_a_model_that_lacks_its_last_bytes_is_incomplete(
    demo_cut: Callable[[int], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    model = demo_cut(demo_model().stat().st_size - 1000)

    with pytest.raises(ConfigurationError, match="incomplete") as caught:
        LlamaServer(settings(model))

    assert "download it again" in caught.value.hint
    assert capfd.readouterr() == ("", "")


def test_without_the_library_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    with pytest.raises(ConfigurationError, match=r"llama\.cpp cannot be used") as caught:
        library_version()

    assert "cocoon-p2p[cpu]" in caught.value.hint
