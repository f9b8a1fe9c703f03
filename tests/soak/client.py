"""A client that asks for hours: short answers, long ones that it leaves, and requests that it cancels.

    python -m tests.soak.client FILE

Says that it asks, runs until SIGTERM, then finishes what runs and prints what it has done.
"""

import json
import os
import random
import signal
import sys
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import trio

from cocoon_p2p import lifeline
from cocoon_p2p.client import Answer, Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.inference.catalogue import DEMO_NAME
from cocoon_p2p.node import open_client

AT_ONCE = 3
PAUSE_MAX_SECONDS = 1.0
LONG_TOKENS = 400


class Asker:
    """Asks one thing after another, and counts what came of it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.done = Counter[str]()
        self.is_done = False

    async def ask_on(self) -> None:
        kinds = {"answered": 6, "left": 3, "cancelled": 2, "quoted": 1}
        while not self.is_done:
            (kind,) = random.choices(list(kinds), list(kinds.values()))
            try:
                await getattr(self, f"_be_{kind}")()
                self.done[kind] += 1
            except CocoonError as exc:
                self.done[f"failed: {getattr(exc, 'code', None) or exc}"[:80]] += 1
            await trio.sleep(random.uniform(0, PAUSE_MAX_SECONDS))

    async def _be_answered(self) -> None:
        question = [{"role": "user", "content": "What is this? " * random.randint(1, 40)}]
        async with self._client.chat(
            DEMO_NAME, question, completion_tokens_max=random.randint(1, 120)
        ) as answer:
            await answer.read()

    async def _be_left(self) -> None:
        pieces = random.randint(1, 60)
        async with self._client.chat(
            DEMO_NAME, _HELLO, ignore_eos=True, completion_tokens_max=LONG_TOKENS
        ) as answer:
            async for _piece in answer:
                pieces -= 1
                if not pieces:
                    break

    async def _be_cancelled(self) -> None:
        with trio.move_on_after(random.uniform(0, 0.2)):
            async with self._long() as answer:
                await answer.read()

    def _long(self) -> AbstractAsyncContextManager[Answer]:
        return self._client.chat(DEMO_NAME, _HELLO, ignore_eos=True, completion_tokens_max=LONG_TOKENS)

    async def _be_quoted(self) -> None:
        await self._client.quote(DEMO_NAME, _HELLO)


_HELLO = [{"role": "user", "content": "Hello"}]


async def main(file: Path) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_client(load(ClientFile, file, os.environ)) as client:
            asker = Asker(client)
            async with trio.open_nursery() as nursery:
                print("asking", flush=True)
                for _ in range(AT_ONCE):
                    nursery.start_soon(asker.ask_on)
                await anext(aiter(signals))
                asker.is_done = True
        print(json.dumps(asker.done))


if __name__ == "__main__":
    lifeline.hold()
    trio.run(main, Path(sys.argv[1]))
