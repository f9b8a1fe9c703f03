"""Lines between nodes that are cut in the midst of an answer, both ways or one, and mended."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from cocoon_p2p.client import Client
from tests.chaos.scene import WORKERS, Town, disturbed, lose_the_proxy, open_town
from tests.nat.lab import Lab


@pytest.mark.timeout(600)
async def test_whoever_is_parted_in_mid_answer_meets_again_and_nobody_pays_twice(
    lab: Lab, tmp_path: Path
) -> None:
    async with open_town(lab, tmp_path) as town, town.client() as client:
        await answers_go_on_without_the_chain(town, client)
        for is_one_way in (False, True):
            await an_answer_goes_on_without_the_line_to_its_worker(town, client, is_one_way=is_one_way)
            await whoever_loses_the_line_to_the_proxy_is_told(town, client, is_one_way=is_one_way)


async def answers_go_on_without_the_chain(town: Town, client: Client) -> None:
    with ExitStack() as lines:
        async with disturbed(town, client) as (answer, _):
            nodes = [town.place_of(name) for name in ("client", "proxy", *WORKERS)]
            lines.enter_context(town.lab.cut(town.place_of("chain"), *nodes))
        town.is_whole(answer)


async def an_answer_goes_on_without_the_line_to_its_worker(
    town: Town, client: Client, *, is_one_way: bool
) -> None:
    """One way: the worker speaks, and the proxy hears nothing."""
    with ExitStack() as lines:
        async with disturbed(town, client) as (answer, disturbance):
            worker = town.node_of(answer).name
            lines.enter_context(
                town.lab.cut(town.place_of(worker), town.place_of("proxy"), is_one_way=is_one_way)
            )
        town.is_whole(answer)
    print(f"{worker} cut off: at most {disturbance.gap_seconds:.2f} s without a piece")
    # The next answer needs a worker to go on with.
    await town.all_slots_are_free(client)


async def whoever_loses_the_line_to_the_proxy_is_told(
    town: Town, client: Client, *, is_one_way: bool
) -> None:
    """One way: the client speaks, and the proxy hears nothing."""
    ends = town.place_of("client"), town.place_of("proxy")
    with ExitStack() as lines:
        told = await lose_the_proxy(
            town, client, lambda: lines.enter_context(town.lab.cut(*ends, is_one_way=is_one_way))
        )
    assert told is None or "it did not go on elsewhere" in told
    await town.answered_again(client)
