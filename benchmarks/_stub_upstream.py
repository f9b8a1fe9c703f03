"""A server that speaks like OpenAI's and computes nothing: what stands behind the gateways of others.

    python benchmarks/_stub_upstream.py

Answers of `max_tokens` tokens are there at once. Prints its port, and runs until it is killed.
"""

import asyncio
import json
from functools import cache

MODEL = "stub"


def words(tokens: int) -> list[str]:
    """Give an answer's tokens. LiteLLM takes a hundred in a row that are the same for a fault."""
    return [f" token{number % 10}" for number in range(tokens)]


@cache
def whole(tokens: int) -> bytes:
    """Spell an answer's response in one piece."""
    message = {"role": "assistant", "content": "".join(words(tokens))}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens},
    }
    text = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(text) + text


@cache
def streamed(tokens: int) -> bytes:
    """Spell it as a stream: an event a token, each a chunk of HTTP's own."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    events = [_event({"role": "assistant", "content": ""}, None)]
    events += [_event({"content": word}, None) for word in words(tokens)]
    events.append(_event({}, "length"))
    return head + b"".join(map(_chunk, (*events, b"data: [DONE]\n\n", b"")))


def _event(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    return b"data: " + json.dumps(body | {"choices": [choice]}).encode() + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            lines = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
            if not lines:
                # Somebody asks for health, or for models.
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                continue
            asked = json.loads(await reader.readexactly(int(lines[0].split(b":")[1])))
            spell = streamed if asked.get("stream") else whole
            # sglang's router renames it.
            writer.write(spell(asked.get("max_tokens") or asked["max_completion_tokens"]))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
