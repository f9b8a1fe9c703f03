"""Proxies of a real network killed in the midst of the answers that they carry, and what the books say then.

Two proxies, with all workers behind both or with some behind each. A lost proxy's answer goes on through the
other one; it comes back over its ledger, and what broke off with it is settled then.
"""

import random
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from cocoon_p2p.cli.books import Books, who_paid_whom
from cocoon_p2p.client import Answer, AnswerPart, Client
from cocoon_p2p.control import follow
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.node import CONTROL_SOCKET
from cocoon_p2p.overview import CHANNELS, ChannelView, ListChannels
from cocoon_p2p.payments.pricing import owed_usage
from cocoon_p2p.protocols.ids import METER_TOKENS, Outcome
from cocoon_p2p.protocols.messages import Meter
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.testing.processes import LocalNetwork, Site, open_local_network
from tests.end_to_end.scene import client_of
from tests.failover.killing import (
    BOUND_SECONDS,
    MODEL,
    NO_CANARIES,
    PROMPTS,
    TOKENS_PER_SECOND,
    Account,
    Undisturbed,
    ask,
    check_amounts,
    check_last,
    come_back,
)

GATES = ("proxy", "proxy-2")
WORKERS = 2


async def lose_proxies(
    place: Path, losses: int, *, seed: int, are_shared: bool, tell: Callable[[str], None] = lambda _: None
) -> Account:
    """Kill the proxy that carries an answer, again and again, each time after a random token.

    Args:
        place: An empty folder.
        losses: How often.
        seed: Of all choices.
        are_shared: Whether both workers serve both proxies, or each one of them.
        tell: Told of each loss in words.
    """
    account, dice = Account(), random.Random(seed)
    keys = {"tokens_per_second": TOKENS_PER_SECOND, "slots": 4, "context_tokens": 1024}
    # Who comes back listens where it did.
    sites = {gate: Site(port=port) for gate, port in zip(GATES, free_ports(len(GATES)), strict=True)}
    network_of = partial(open_local_network, workers=WORKERS, proxies=len(GATES), are_shared=are_shared)
    # Proxies that come back live in the nursery.
    async with trio.open_nursery() as nursery:
        async with network_of(place, worker_keys=keys, proxy_keys=NO_CANARIES, sites=sites) as network:
            async with client_of(network) as client:
                await all_sell(client)
                known = {prompt: await ask(client, prompt, account) for prompt in PROMPTS}
                for _ in range(losses):
                    prompt = dice.choice(PROMPTS)
                    at = dice.choice(known[prompt].pieces[:-1])
                    answer, victim, gap = await lose_one(network, client, prompt, at)
                    account.losses += 1
                    account.continued += len(answer.parts) > 1
                    account.gaps_seconds.append(gap)
                    tell(
                        f"{victim}: {prompt} {at} of {known[prompt].tokens} tokens, then none for {gap:.2f} s"
                    )
                    await come_back(network.nodes[victim], nursery)
                    await all_is_settled(answer)
                    check_answer(answer, known[prompt], account)
                    await all_sell(client)
            await all_are_paid(network, account)
        nursery.cancel_scope.cancel()
    check_books(await who_paid_whom(place, list(network.nodes)), account)
    return account


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


async def lose_one(network: LocalNetwork, client: Client, prompt: str, at: int) -> tuple[Answer, str, float]:
    """Kill the proxy of an answer after so many tokens; give who it was, and how long no piece came."""
    victim, last_at, gap = "", 0.0, 0.0
    with trio.fail_after(BOUND_SECONDS):
        async with client.chat(MODEL, [{"role": "user", "content": prompt}]) as answer:
            async for piece in answer:
                if victim:
                    gap, last_at = max(gap, trio.current_time() - last_at), trio.current_time()
                if piece.completion_tokens >= at and not victim:
                    assert answer.proxy is not None
                    victim, last_at = network.name_of(peer_id_text(answer.proxy)), trio.current_time()
                    network.nodes[victim].signal(signal.SIGKILL)
    return answer, victim, gap


async def all_sell(client: Client) -> None:
    """Wait until both proxies have a worker again, by what they quote."""
    with trio.fail_after(BOUND_SECONDS):
        while True:
            quotes = await client.quote(MODEL, [{"role": "user", "content": PROMPTS[0]}])
            if len({quote.proxy for quote in quotes}) == len(GATES):
                return
            await trio.sleep(0.2)


async def all_is_settled(answer: Answer) -> None:
    """Wait until the proxy that is back has said what each part costs."""
    with trio.fail_after(BOUND_SECONDS):
        # A bill that comes late tells nobody.
        while any(part.is_open for part in answer.parts):  # noqa: ASYNC110
            await trio.sleep(0.05)


def check_answer(answer: Answer, whole: Undisturbed, account: Account) -> None:
    """Hold an answer against the undisturbed one, and its papers against the rule, to the nanoTON."""
    account.hold(answer.text == whole.text, f"another text: {answer.text!r} for {whole.text!r}")
    account.hold(answer.usage.completion == whole.tokens, f"{answer.usage.completion} tokens counted")
    *broken, last = answer.parts
    delivered = 0
    for part in broken:
        check_broken(part, account)
        delivered += part.usage.completion
    if broken:
        check_last(last, whole.prompt_tokens + delivered, whole.tokens - delivered, account)
    else:
        # All had come but the bill.
        check_broken(last, account)
    account.hold(answer.cost == sum(part.cost for part in answer.parts), "the bill is not its parts' sum")
    account.client_paid += answer.cost


def check_broken(part: AnswerPart, account: Account) -> None:
    """What a lost proxy carried costs what it had booked, or what the newest Meter of the client says."""
    bill, came = part.bill, part.usage.completion
    if bill is None:
        account.hold(came < METER_TOKENS, f"nothing was charged for {came} tokens")
        account.hold(part.cost == 0, f"{part.cost} nanoTON without a bill")
    elif bill.receipt is not None:
        account.hold(bill.receipt.usage.completion >= came, "the receipt says less than came")
        check_amounts(part, owed_usage(bill.receipt.usage, bill.settlement.outcome), account)
    elif bill.settlement.meter is None:
        account.hold(came < METER_TOKENS and part.cost == 0, f"{part.cost} nanoTON without a paper")
    else:
        usage = decode_paper(Meter, bill.settlement.meter.body).usage
        account.hold(came - METER_TOKENS <= usage.completion, f"metered {usage.completion} of {came} tokens")
        account.hold(bill.settlement.outcome is Outcome.FAILED, "a meter stands for what did not fail")
        check_amounts(part, owed_usage(usage, bill.settlement.outcome), account)


async def all_are_paid(network: LocalNetwork, account: Account) -> None:
    """Wait until both proxies have agreed with their workers on what those earned."""
    with trio.fail_after(BOUND_SECONDS):
        while True:
            views = [view for gate in GATES for view in await channels_of(network, gate)]
            paid = sum(view.charged_nano for view in views if view.side == "payer")
            if paid >= account.workers_earned:
                return
            await trio.sleep(0.1)


async def channels_of(network: LocalNetwork, gate: str) -> list[ChannelView]:
    control = network.data_directory(gate) / CONTROL_SOCKET
    asked = partial(follow, control, CHANNELS, ListChannels())
    return await trio.to_thread.run_sync(lambda: list(asked()), abandon_on_cancel=True)


def check_books(books: Books, account: Account) -> None:
    """Hold everybody's ledgers against the papers."""
    account.faults += books.faults
    spent = -books.earned("client")
    earned = sum(books.earned(f"worker-{number}") for number in range(1, WORKERS + 1))
    kept = sum(map(books.earned, GATES))
    account.hold(
        spent == account.client_paid, f"the client's books say {spent}, its papers {account.client_paid}"
    )
    account.hold(
        earned == account.workers_earned, f"the workers' say {earned}, their papers {account.workers_earned}"
    )
    account.hold(spent - earned == kept, "the commission is not the difference")
