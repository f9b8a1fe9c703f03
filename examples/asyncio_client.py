"""Ask once from an asyncio program: `python asyncio_client.py CLIENT.toml "Your question"`."""

import asyncio
import sys

from cocoon_p2p import aio


async def main(file: str, question: str) -> None:
    async with aio.open_client(file) as client:
        model = (await client.models())[0].model.name
        async with client.chat(model, [{"role": "user", "content": question}]) as answer:
            async for piece in answer:
                print(piece.text, end="", flush=True)
        print(f"\n{answer.cost} nanoTON, trust {answer.trust}", file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
