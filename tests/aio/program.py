"""A program that reads an answer, run by a test that interrupts it: `program.py asyncio|sync FILE`.

It writes to the file what came of it: that a test cannot see from outside.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

from cocoon_p2p import aio, sync
from cocoon_p2p.aio.opening import open_portal
from cocoon_p2p.testing.engine import ScriptedEngine
from tests.aio.scene import HELLO, open_bought

ENGINE = ScriptedEngine(("word ",) * 10_000, delay_seconds=0.002)
OPENS = partial(open_bought, (ENGINE,))


async def read_in_asyncio() -> None:
    async with open_portal(OPENS) as portal:
        client = aio.Client(portal)
        async with client.chat("scripted", HELLO, completion_tokens_max=4_000) as answer:
            async for piece in answer:
                print(piece.text, flush=True)


def read_in_script() -> None:
    with sync.open_portal(OPENS) as portal:
        client = sync.Client(portal)
        with client.chat("scripted", HELLO, completion_tokens_max=4_000) as answer:
            for piece in answer:
                print(piece.text, flush=True)


if __name__ == "__main__":
    try:
        if sys.argv[1] == "asyncio":
            asyncio.run(read_in_asyncio())
        else:
            read_in_script()
    except KeyboardInterrupt:
        Path(sys.argv[2]).write_text(f"interrupted, running={ENGINE.running}")
