"""Disks that are full in the midst of an answer, or that may not be written: nothing promised is lost.

Each node's data is on a small disk of its own.
"""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from cocoon_p2p.client import Client
from cocoon_p2p.testing.processes import NodeProcess
from tests.chaos.scene import BOUND_SECONDS, WORKERS, Town, disturbed, lose_the_proxy, open_town
from tests.nat.lab import Lab

NODES = ("proxy", *WORKERS)


@dataclass(frozen=True, slots=True)
class Told:
    """How a node ends, and what it says then."""

    code: int
    what: str
    hint: str


FULL = Told(3, "the ledger cannot be written: database or disk is full", "free space on the disk")
READ_ONLY = Told(2, "the ledger cannot be opened: Read-only file system", "that this user may write to")


@pytest.mark.timeout(600)
async def test_a_node_that_cannot_write_ends_with_what_to_do_and_goes_on_when_it_can(
    lab: Lab, tmp_path: Path
) -> None:
    with ExitStack() as disks:
        for name in NODES:
            disks.enter_context(small_disk(tmp_path / f"{name}-data"))
        async with open_town(lab, tmp_path) as town, town.client() as client:
            await an_answer_goes_on_without_the_worker_whose_disk_is_full(town, client)
            await no_bill_is_lost_with_a_proxy_whose_disk_is_full(town, client)
            await a_worker_whose_disk_is_read_only_does_not_begin(town, client)


async def an_answer_goes_on_without_the_worker_whose_disk_is_full(town: Town, client: Client) -> None:
    async with disturbed(town, client) as (answer, _):
        worker = town.node_of(answer)
        filler = town.network.data_directory(worker.name) / "filler"
        fill(filler)
    town.is_whole(answer)
    assert_told(await ended(worker), worker, FULL)
    # Without room it does not begin either.
    await worker.start(town.nursery)
    assert_told(await ended(worker), worker, FULL)
    filler.unlink()
    await worker.start(town.nursery)
    await worker.wait_for("ready")
    await town.answered_again(client)


async def no_bill_is_lost_with_a_proxy_whose_disk_is_full(town: Town, client: Client) -> None:
    """Its clients have their answer, if all of it was under way, or are told that it broke off."""
    proxy = town.network.nodes["proxy"]
    filler = town.network.data_directory("proxy") / "filler"
    await lose_the_proxy(town, client, lambda: fill(filler))
    assert_told(await ended(proxy), proxy, FULL)
    filler.unlink()
    await proxy.start(town.nursery)
    await proxy.wait_for("ready")
    await town.answered_again(client)


async def a_worker_whose_disk_is_read_only_does_not_begin(town: Town, client: Client) -> None:
    worker = town.network.nodes["worker-1"]
    disk = str(town.network.data_directory("worker-1"))
    await worker.stop()
    run("mount", "-o", "remount,ro", disk)
    await worker.start(town.nursery)
    assert_told(await ended(worker), worker, READ_ONLY)
    run("mount", "-o", "remount,rw", disk)
    await worker.start(town.nursery)
    await worker.wait_for("ready")


def assert_told(code: int, node: NodeProcess, told: Told) -> None:
    """The last that it says is what is the matter, and what to do."""
    *_, what, hint = node.log_file.read_text().splitlines()
    assert code == told.code
    assert told.what in what
    assert told.hint in hint


async def ended(node: NodeProcess) -> int:
    """Wait for a node's end."""
    with trio.fail_after(BOUND_SECONDS):
        return await node.ended()


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Have a disk of two megabytes at a folder while the block runs."""
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", str(folder))
    try:
        yield
    finally:
        run("umount", "-l", str(folder))


def fill(filler: Path) -> None:
    """Have a file take all the room that is left on its disk."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
