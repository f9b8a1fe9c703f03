"""A worker whose price its owner changes on its page, and a client that pays it."""

from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from cocoon_p2p.control import ask
from cocoon_p2p.node import CONTROL_SOCKET
from cocoon_p2p.overview.snapshot import SNAPSHOT, ShowSnapshot
from cocoon_p2p.page import TOKEN_FILE
from cocoon_p2p.payments.pricing import worker_amount
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.testing.processes import open_local_network
from tests.end_to_end.scene import client_of

pytestmark = pytest.mark.long

QUESTION = ({"role": "user", "content": "Translate to Spanish: the red house"},)


async def test_an_answer_costs_what_its_worker_asks_by_then(tmp_path: Path) -> None:
    more = {"worker-1": {"page": {"listen": "127.0.0.1:0"}}}
    with trio.fail_after(120):
        async with (
            open_local_network(tmp_path, workers=1, more=more) as network,
            client_of(network) as client,
        ):
            url = (await network.nodes["worker-1"].wait_for("page"))["url"].rstrip("/")
            token = (network.data_directory("worker-1") / TOKEN_FILE).read_text().strip()
            async with httpx.AsyncClient(headers={"origin": url, "x-cocoon-token": token}) as owner:
                said = await owner.post(
                    f"{url}/act/price", json={"model": "cocoon-demo", "completion": 200_000}
                )
            look = partial(ask, network.data_directory("proxy") / CONTROL_SOCKET, SNAPSHOT, ShowSnapshot())
            # The proxy is told, and quotes it from then on.
            offered = list[int]()
            while offered != [200_000]:
                offered = [offer.completion for offer in (await trio.to_thread.run_sync(look)).offers]
            async with client.chat("cocoon-demo", QUESTION, trust="open") as answer:
                await answer.read()

    assert said.json() == {"said": "200000 is asked, and follows the market from there"}
    (part,) = answer.parts
    assert part.bill is not None
    assert part.bill.settlement.worker_amount == worker_amount(
        answer.usage, Price(40_000, 10_000, 200_000, 200_000)
    )
