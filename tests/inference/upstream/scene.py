"""Servers to stand in front of: llama.cpp's own, and one that says what a test wrote down."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h11
import trio
import xllamacpp

from cocoon_p2p.inference.catalogue import demo_model

KEY = "a key"


@contextmanager
def llama_server(
    *,
    slots: int = 2,
    context_tokens: int = 512,
    key: str = KEY,
    template: str = "",
    embeds: bool = False,
    kv_unified: bool = False,
) -> Iterator[str]:
    """Run llama.cpp's server with the demo model; gives its address.

    Args:
        slots: Requests at once.
        context_tokens: Of each.
        key: What locks it; empty for no lock.
        template: Of chats, in place of the model's own.
        embeds: Whether it embeds.
        kv_unified: Whether all requests share one cache.
    """
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(demo_model())
    parameters.n_parallel = slots
    parameters.n_ctx = slots * context_tokens
    parameters.fit_params = parameters.ui = False
    parameters.kv_unified = kv_unified
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    if key:
        parameters.api_keys = [key]
    if template:
        parameters.use_jinja, parameters.chat_template = True, template
    if embeds:
        parameters.embedding, parameters.pooling_type = (
            True,
            xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN,
        )
    parameters.verbosity = 0
    server = xllamacpp.Server(parameters)
    # Unloaded before its loop has begun it would hang for ever.
    if embeds:
        server.handle_embeddings({"input": "Hello"})
    else:
        server.handle_completions(json.dumps({"prompt": [0], "max_tokens": 1}).encode(), lambda _: False)
    yield server.listening_address


@dataclass
class Script:
    """What a scripted server says. Each part can be another for a test."""

    models: tuple[str, ...] = ("scripted",)
    context_tokens: int = 100
    split: Callable[[str], list[int]] = lambda text: [len(word) for word in text.split()]
    "A prompt's tokens: the lengths of its words."

    events: Callable[[Mapping[str, object]], list[bytes]] | None = None
    "What is sent for a completion, piece by piece; by default one token for each that was asked for."

    status: int = 200
    "Of completions."

    headers: tuple[tuple[str, str], ...] = (("content-type", "text/event-stream"),)
    "Of completions."

    takes_chats: bool = False
    "Whether chats are rendered and answered, besides prompts of tokens."

    complaint: str = ""
    error_headers: tuple[tuple[str, str], ...] = ()
    "What it says besides, where `status` is no success."

    hangs_after: int | None = None
    "Pieces after which it says nothing more; the connection stays."

    is_cut: bool = False
    "Whether the connection is cut after the last piece, in the middle of the response."

    owner: str = "vllm"
    "What it calls itself in its list of models."

    answers: dict[str, Callable[[Mapping[str, Any]], tuple[int, Sequence[tuple[str, str]], bytes]]] = field(
        default_factory=dict[str, Callable[[Mapping[str, Any]], tuple[int, Sequence[tuple[str, str]], bytes]]]
    )
    "Status, headers and body of what is posted to other paths."

    connections: int = 0
    "That were made so far."

    heads: list[h11.Request] = field(default_factory=list[h11.Request])
    "Of all that was asked."

    requests: list[Mapping[str, object]] = field(default_factory=list[Mapping[str, object]])
    "Completions that were asked for."

    hung_up: trio.Event = field(default_factory=trio.Event)
    "Set when somebody left in the middle."


def say(value: object) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chat_text(asked: Mapping[str, Any]) -> str:
    """What this server's template makes of a chat: its words, and a word for each tool and picture."""
    words = [f"tool-{tool['function']['name']}" for tool in asked.get("tools", ())]
    for message in asked.get("messages", ()):
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        words += [part.get("text", "<picture>") for part in parts]
    return " ".join(words)


DONE = b"data: [DONE]\n\n"


def step(text: str, *, tokens: int | None = None, finish: str | None = None, prompt: int = 4) -> bytes:
    """One step of an answer, as vLLM writes it."""
    event: dict[str, object] = {"choices": [{"index": 0, "text": text, "finish_reason": finish}]}
    if tokens is not None:
        event["usage"] = {"prompt_tokens": prompt, "completion_tokens": tokens}
    return say(event)


def words(request: Mapping[str, object]) -> list[bytes]:
    """Answer with as many tokens as were asked for."""
    number, prompt = request["max_tokens"], request["prompt"]
    assert isinstance(number, int)
    assert isinstance(prompt, list)
    length = len(prompt)
    steps = [step(f" w{at}", tokens=at, prompt=length) for at in range(1, number + 1)]
    return [*steps, step("", tokens=number, finish="length", prompt=length), DONE]


@asynccontextmanager
async def scripted_server(script: Script) -> AsyncIterator[str]:
    """Run a server that speaks like vLLM; gives its address."""

    async def serve(stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        script.connections += 1
        try:
            while (request := await _request(connection, stream)) is not None:
                script.heads.append(request[0])
                await _Answering(script, connection, stream).answer(*request)
                if connection.our_state is h11.MUST_CLOSE:
                    break
                connection.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            script.hung_up.set()
        finally:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        listening = partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(listening)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def _request(connection: h11.Connection, stream: trio.SocketStream) -> tuple[h11.Request, bytes] | None:
    head, body = None, b""
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                data = await stream.receive_some()
                connection.receive_data(data)
                if not data and head is None:
                    return None
            case h11.Request():
                head = event
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                assert head is not None
                return head, body
            case _:
                return None


@dataclass
class _Answering:
    script: Script
    connection: h11.Connection
    stream: trio.SocketStream

    async def answer(self, head: h11.Request, body: bytes) -> None:
        asked = json.loads(body) if body.startswith(b"{") else {"form": body}
        match head.target.decode():
            case path if path in self.script.answers:
                status, headers, content = self.script.answers[path](asked)
                await self._send(h11.Response(status_code=status, headers=list(headers)))
                await self._send(h11.Data(data=content))
                await self._send(h11.EndOfMessage())
            case "/v1/models":
                owner = self.script.owner
                await self._json(
                    {
                        "data": [
                            {"id": name, "owned_by": owner, "max_model_len": self.script.context_tokens}
                            for name in self.script.models
                        ]
                    }
                )
            case "/tokenize":
                tokens = self.script.split(str(asked.get("prompt") or chat_text(asked)))
                await self._json(
                    {"count": len(tokens), "tokens": tokens, "max_model_len": self.script.context_tokens}
                )
            case "/v1/chat/completions" if not self.script.takes_chats:
                await self._json({"error": {"message": "no such path"}}, status=404)
            case "/v1/completions" | "/v1/chat/completions":
                self.script.requests.append(asked)
                await self._completion(asked)
            case _:
                await self._json({"error": {"message": "no such path"}}, status=404)

    async def _completion(self, asked: Mapping[str, object]) -> None:
        if self.script.status != 200:
            error = {"type": "a_type", "message": f"refused: {asked.get('prompt')} {self.script.complaint}"}
            await self._json({"error": error}, status=self.script.status, headers=self.script.error_headers)
            return
        await self._send(h11.Response(status_code=200, headers=list(self.script.headers)))
        for number, piece in enumerate((self.script.events or words)(asked)):
            if number == self.script.hangs_after:
                await self._until_hung_up()
            await self._send(h11.Data(data=piece))
        if self.script.is_cut:
            raise trio.ClosedResourceError
        await self._send(h11.EndOfMessage())

    async def _until_hung_up(self) -> None:
        while await self.stream.receive_some():
            pass
        raise trio.BrokenResourceError

    async def _json(
        self, value: object, *, status: int = 200, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        content = json.dumps(value).encode()
        headers = [
            ("content-type", "application/json"), ("content-length", str(len(content))), *headers
        ]  # fmt: skip
        await self._send(h11.Response(status_code=status, headers=headers))
        await self._send(h11.Data(data=content))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        data = self.connection.send(event)
        assert data is not None
        await self.stream.send_all(data)
