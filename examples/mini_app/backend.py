"""A Mini App whose users pay for their own answers, from channels that their own wallets fund.

    python backend.py CLIENT.toml TOKEN_FILE https://app.example.org MODEL [127.0.0.1:8080]

TOKEN_FILE holds the bot's token, and is of mode 0600. A reverse proxy in front does TLS and passes `Host` on.
What it does, and whose money is where: docs/mini-app.md.
"""

import sys
from pathlib import Path

import trio

from cocoon_p2p import private_files
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.telegram.mini_app import DoorSettings, serve_mini_app

PAGES = Path(__file__).parent / "page"


async def main(file: str, token_file: str, origin: str, model: str, bind: str = "127.0.0.1:8080") -> None:
    settings = DoorSettings(
        origin=origin,
        token=private_files.read(Path(token_file)).decode().strip(),
        model=model,
        name="Ask privately",
        icon_url=f"{origin}/icon.png",
    )
    loaded = load(ClientFile, Path(file), {})
    async with trio.open_nursery() as nursery:
        address = await nursery.start(
            lambda task_status: serve_mini_app(loaded, settings, bind, pages=PAGES, task_status=task_status)
        )
        print(f"listening on {address}", flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
