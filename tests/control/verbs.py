"""A process that can be asked a few things, for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from cocoon_p2p.control import Answer, Feed, Request, Verb, ask, serve_control
from cocoon_p2p.control.verbs import Say
from cocoon_p2p.errors import CocoonError

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")


class Double(Request, tag="double", frozen=True):
    number: int


class Count(Request, tag="count", frozen=True):
    until: int


class Fail(Request, tag="fail", frozen=True):
    pass


class Doubled(msgspec.Struct, frozen=True):
    number: int


DOUBLE = Verb(Double, Doubled)
FAIL = Verb(Fail, Doubled, limit_seconds=10.0)
COUNT = Feed(Count, Doubled)


async def double(request: Double) -> Doubled:
    return Doubled(2 * request.number)


async def count(request: Count, say: Say[Doubled]) -> None:
    for number in range(request.until):
        await say(Doubled(number))


ANSWERS = (DOUBLE.by(double), COUNT.by(count))


def failing_with(error: Exception) -> tuple[Answer, ...]:
    """The same, and a verb that fails."""

    async def fail(_request: Fail) -> Doubled:
        raise error

    return (*ANSWERS, FAIL.by(fail))


@asynccontextmanager
async def serving(path: Path, answers: tuple[Answer, ...] = ANSWERS) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
            await serve_control(path, answers, task_status=task_status)

        await nursery.start(serve)
        yield
        nursery.cancel_scope.cancel()


async def asked(path: Path, verb: Verb[Q, R], request: Q) -> R:
    """Ask as a command does, from a thread."""
    return await trio.to_thread.run_sync(ask, path, verb, request)


async def failed(path: Path, error: Exception) -> CocoonError:
    """Give what the one who asks sees when a verb raises `error`."""
    async with serving(path, failing_with(error)):
        try:
            await asked(path, FAIL, Fail())
        except CocoonError as exc:
            return exc
        raise AssertionError("nothing was raised")


async def read_lines(stream: trio.SocketStream, number: int) -> list[bytes]:
    """Read so many lines, or fewer if the other side hangs up."""
    data = b""
    while data.count(b"\n") < number:
        more = await stream.receive_some()
        if not more:
            break
        data += more
    return data.splitlines()
