"""Workers and clients in homes behind two routers, on bad lines: they only dial out, and need no more."""

from pathlib import Path

import pytest
import trio

from cocoon_p2p.cli.books import Books, who_paid_whom
from cocoon_p2p.client import Answer, Client
from cocoon_p2p.errors import AnswerBroken, CocoonError
from tests.nat.lab import Lab
from tests.nat.scene import BAD_LINE, HELLO, MODEL, Overlay, home, open_overlay, wait_agreed, wait_offered

PROXY = "192.0.2.10"

TOKENS = 2000

ANSWERED_SECONDS = 120.0
"Within this long an answer comes, also where one connection has to be given up first."


async def settled_books(overlay: Overlay) -> Books:
    """Read all ledgers once the nodes have ended."""
    return await who_paid_whom(overlay.folder, list(overlay.nodes))


async def begin(overlay: Overlay) -> None:
    """A proxy that anybody can dial, and a worker in a home."""
    await overlay.start("proxy", overlay.lab.add("proxy", PROXY))
    worker = await overlay.start(
        "worker", home(overlay.lab, 1, line=BAD_LINE), {"model": "demo", "measure_seconds": 0}
    )
    await worker.wait_for("ready")


async def test_a_worker_in_a_home_is_seen_from_another_and_what_it_answers_streams_and_is_paid(
    lab: Lab, tmp_path: Path
) -> None:
    async with open_overlay(lab, tmp_path) as overlay:
        proxy = await overlay.start("proxy", lab.add("proxy", PROXY))
        await proxy.wait_for("ready")
        async with overlay.client_at(home(lab, 2, line=BAD_LINE)) as client:
            worker_at = home(lab, 1, line=BAD_LINE)
            began = trio.current_time()
            await overlay.start("worker", worker_at, {"model": "demo", "measure_seconds": 0})
            await wait_offered(client)
            print(f"seen by a third node after {trio.current_time() - began:.1f} s")
            pieces = 0
            with trio.fail_after(ANSWERED_SECONDS):
                async with client.chat(MODEL, HELLO, ignore_eos=True, completion_tokens_max=200) as answer:
                    async for _piece in answer:
                        pieces += 1
                async with client.chat(MODEL, HELLO, ignore_eos=True, completion_tokens_max=900) as cancelled:
                    async for _piece in cancelled:
                        break

    assert answer.usage.completion == 200
    assert pieces > 20
    assert cancelled.settlement is not None
    assert 0 < cancelled.usage.completion < 900
    books = await settled_books(overlay)
    assert books.faults == ()
    assert books.earned("host-1") > 0
    assert -books.earned("client") == answer.cost + cancelled.cost


async def test_a_worker_that_gets_another_address_in_mid_answer_comes_back_and_loses_no_coin(
    lab: Lab, tmp_path: Path
) -> None:
    async with open_overlay(lab, tmp_path) as overlay:
        await begin(overlay)
        async with overlay.client_at(home(lab, 2, line=BAD_LINE)) as client:
            await wait_offered(client)
            with pytest.raises(AnswerBroken) as broken:
                await ask_while_moving(client, lab, "carrier-1")
            cost = await ask_until_answered(client)
            await wait_agreed(overlay)
        # Else the proxy would have gone on paying over a connection whose end nobody told it of.
        assert "probe is unanswered" in overlay.nodes["proxy"].log_file.read_text()

    assert broken.value.code == "worker-lost"
    books = await settled_books(overlay)
    assert books.faults == ()
    assert -books.earned("client") == broken.value.charged + cost


async def test_a_client_that_gets_another_address_in_mid_answer_reads_on_and_loses_no_coin(
    lab: Lab, tmp_path: Path
) -> None:
    async with open_overlay(lab, tmp_path) as overlay:
        await begin(overlay)
        async with overlay.client_at(home(lab, 2, line=BAD_LINE)) as client:
            await wait_offered(client)
            # At once: the proxy has not missed it yet, and must not use what is vouchered for the rest.
            answer = await ask_while_moving(client, lab, "carrier-2")
            await wait_agreed(overlay)
            paid = (await client.account()).charged

    assert answer.usage.completion == TOKENS
    assert len(answer.parts) > 1
    books = await settled_books(overlay)
    assert books.faults == ()
    assert -books.earned("client") == paid >= answer.cost


async def ask_while_moving(client: Client, lab: Lab, moved: str) -> Answer:
    """Have a carrier get another address in the middle of an answer, and read that to its end."""
    with trio.fail_after(ANSWERED_SECONDS):
        async with client.chat(MODEL, HELLO, ignore_eos=True, completion_tokens_max=TOKENS) as answer:
            async for piece in answer:
                if piece.completion_tokens >= 50:
                    break
            carrier = lab.places[moved]
            lab.reconnect(carrier, carrier.address.removesuffix("7") + "8")
            await answer.read()
    return answer


async def ask_until_answered(client: Client) -> int:
    """Buy one whole answer, however often that has to be tried; give what it cost."""
    with trio.fail_after(ANSWERED_SECONDS):
        while True:
            try:
                async with client.chat(MODEL, HELLO, completion_tokens_max=20) as answer:
                    await answer.read()
                    return answer.cost
            except CocoonError:
                await trio.sleep(0.5)
    raise AssertionError("unreachable: the deadline raises")
