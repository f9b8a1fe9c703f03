"""Ask once from a trio program: `python trio_client.py CLIENT.toml "Your question"`."""

import os
import sys
from pathlib import Path

import trio

from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.node import open_client


async def main(file: Path, question: str) -> None:
    async with open_client(load(ClientFile, file, os.environ)) as client:
        model = (await client.models())[0].model.name
        async with client.chat(model, [{"role": "user", "content": question}]) as answer:
            async for piece in answer:
                print(piece.text, end="", flush=True)
        print(f"\n{answer.cost} nanoTON, trust {answer.trust}", file=sys.stderr)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
