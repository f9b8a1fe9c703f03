"""A network of real processes for each test, and a client of it in this one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cocoon_p2p.client import Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.node import open_client
from cocoon_p2p.testing.processes import LocalNetwork


@asynccontextmanager
async def client_of(network: LocalNetwork) -> AsyncIterator[Client]:
    async with open_client(load(ClientFile, network.client_file, {})) as client:
        yield client


def seen_in(place: Path, words: bytes) -> list[str]:
    """Name the files below `place` that hold `words`."""
    return [str(file) for file in place.rglob("*") if file.is_file() and words in file.read_bytes()]


def seen_in_memory(pid: int, words: bytes) -> bool:
    """Search every readable page of another process of ours."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            bounds, rights = line.split()[:2]
            if "r" not in rights or "[vvar" in line or "[vsyscall" in line:
                continue
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            try:
                memory.seek(start)
                if words in memory.read(end - start):
                    return True
            except (OSError, OverflowError, ValueError):
                continue
    return False
