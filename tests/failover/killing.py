"""Workers of a real network lost in the midst of their answers, and what the reader and the books say."""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from cocoon_p2p.cli.books import Books, who_paid_whom
from cocoon_p2p.cli.demo_chain import ask_proxy
from cocoon_p2p.client import Answer, AnswerPart, Client
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.overview import CHANNELS, ListChannels
from cocoon_p2p.payments.pricing import client_amount, worker_amount
from cocoon_p2p.protocols.ids import METER_TOKENS, Outcome
from cocoon_p2p.protocols.messages import Meter, Usage
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.testing.processes import LocalNetwork, NodeProcess, open_local_network
from tests.end_to_end.scene import client_of

MODEL = "cocoon-demo"
PROMPTS = (
    "What is this network?",
    "How do I pay?",
    "What is a worker?",
    "What is a proxy?",
    "What is TON?",
    "Who are you?",
)
WORKERS = 3
TOKENS_PER_SECOND = 25
"So slow that a signal falls in the midst of an answer, wherever it is wanted."

NO_CANARIES = {"canary_budget": 0}
"In a proxy's config: what it pays for itself would stand between the clients' bills and the workers'."

BOUND_SECONDS = 280.0
"For one answer, and for the last worker to be paid: beyond it something hangs."


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """An answer that nobody was lost in."""

    text: str
    tokens: int
    "With the one that ends it."

    pieces: tuple[int, ...]
    "The counts after which something was delivered."

    prompt_tokens: int


@dataclass(slots=True)
class Account:
    """What a run came to."""

    losses: int = 0
    continued: int = 0
    "Those that fell into an answer before its end had been sent."

    gaps_seconds: list[float] = field(default_factory=list[float])
    "The longest time without a piece after each signal."

    client_paid: int = 0
    workers_earned: int = 0
    "By the papers."

    faults: list[str] = field(default_factory=list[str])

    def hold(self, is_so: bool, otherwise: str) -> None:
        """Note a fault, unless it is as it should be."""
        if not is_so:
            self.faults.append(f"loss {self.losses}: {otherwise}")


async def lose_workers(
    place: Path, losses: int, *, seed: int, how: signal.Signals, tell: Callable[[str], None] = lambda _: None
) -> Account:
    """Lose the worker that answers, again and again, each time at a random token of a random question.

    Args:
        place: An empty folder.
        losses: How often.
        seed: Of all choices.
        how: SIGKILL, or SIGSTOP: then it falls silent, and its connections stand.
        tell: Told of each loss in words.
    """
    account, dice = Account(), random.Random(seed)
    keys = {"tokens_per_second": TOKENS_PER_SECOND, "slots": 2, "context_tokens": 1024}
    # Workers that come back live in the nursery.
    async with trio.open_nursery() as nursery:
        async with open_local_network(
            place, workers=WORKERS, worker_keys=keys, proxy_keys=NO_CANARIES
        ) as network:
            async with client_of(network) as client:
                known = {prompt: await ask(client, prompt, account) for prompt in PROMPTS}
                for _ in range(losses):
                    prompt = dice.choice(PROMPTS)
                    at = dice.choice(known[prompt].pieces[:-1])
                    victim, words = await lose_one(network, client, prompt, at, how, known[prompt], account)
                    tell(words)
                    await come_back(network.nodes[victim], nursery)
            await all_are_paid(network, account)
        nursery.cancel_scope.cancel()
    books = await who_paid_whom(place, list(network.nodes))
    check_books(books, account)
    return account


async def ask(client: Client, prompt: str, account: Account) -> Undisturbed:
    """Have a question answered by somebody who is left alone."""
    async with client.chat(MODEL, [{"role": "user", "content": prompt}]) as answer:
        pieces = tuple([piece.completion_tokens async for piece in answer])
    assert answer.settlement is not None
    account.client_paid += answer.cost
    account.workers_earned += answer.settlement.worker_amount
    usage = answer.usage
    return Undisturbed(answer.text, usage.completion, pieces, usage.prompt + usage.cached)


async def lose_one(
    network: LocalNetwork,
    client: Client,
    prompt: str,
    at: int,
    how: signal.Signals,
    whole: Undisturbed,
    account: Account,
) -> tuple[str, str]:
    """Lose the worker that answers after so many tokens; give which it was, and what came of it in words."""
    account.losses += 1
    victim, last_at, gap = "", 0.0, 0.0
    with trio.fail_after(BOUND_SECONDS):
        async with client.chat(MODEL, [{"role": "user", "content": prompt}]) as answer:
            async for piece in answer:
                if victim:
                    gap, last_at = max(gap, trio.current_time() - last_at), trio.current_time()
                if piece.completion_tokens >= at and not victim:
                    assert answer.worker is not None
                    victim, last_at = network.name_of(peer_id_text(answer.worker)), trio.current_time()
                    network.nodes[victim].signal(how)
    check_answer(answer, whole, account)
    account.continued += len(answer.parts) > 1
    account.gaps_seconds.append(gap)
    return victim, f"{prompt} {at} of {whole.tokens} tokens, then none for {gap:.2f} s"


async def come_back(node: NodeProcess, nursery: trio.Nursery) -> None:
    """Start a lost worker again, over its ledger."""
    node.signal(signal.SIGKILL)
    await node.start(nursery)
    await node.wait_for("ready")


def check_answer(answer: Answer, whole: Undisturbed, account: Account) -> None:
    """Hold an answer against the undisturbed one, and its papers against the rule, to the nanoTON."""
    account.hold(answer.text == whole.text, f"another text: {answer.text!r} for {whole.text!r}")
    account.hold(answer.usage.completion == whole.tokens, f"{answer.usage.completion} tokens counted")
    *broken, last = answer.parts
    delivered = 0
    for part in broken:
        check_broken(part, account)
        delivered += part.usage.completion
    check_last(last, whole.prompt_tokens + delivered, whole.tokens - delivered, account)
    chain = [None, *(part.exchange for part in broken)]
    account.hold([part.continues for part in answer.parts] == chain, "the papers do not chain")
    account.hold(answer.cost == sum(part.cost for part in answer.parts), "the bill is not its parts' sum")
    account.client_paid += answer.cost


def check_broken(part: AnswerPart, account: Account) -> None:
    """A worker that was lost is owed the tokens of its last signed Meter, and no prompt."""
    bill = part.bill
    if bill is None or bill.settlement.meter is None or bill.settlement.outcome is not Outcome.FAILED:
        account.hold(False, "a lost part was not settled by its meter")
        return
    metered = decode_paper(Meter, bill.settlement.meter.body).usage.completion
    came = part.usage.completion
    account.hold(came - METER_TOKENS <= metered <= came, f"metered {metered} of {came} tokens")
    check_amounts(part, Usage(0, 0, metered, 0), account)


def check_last(part: AnswerPart, prompt: int, tokens: int, account: Account) -> None:
    """The last one is owed its prompt, what was delivered before among it, and the tokens that it added."""
    if part.bill is None or part.bill.receipt is None:
        account.hold(False, "the last part has no receipt")
        return
    usage = part.bill.receipt.usage
    counted = (usage.prompt + usage.cached, usage.completion)
    account.hold(counted == (prompt, tokens), f"billed for {counted}, due were {(prompt, tokens)}")
    check_amounts(part, usage, account)


def check_amounts(part: AnswerPart, owed: Usage, account: Account) -> None:
    assert part.bill is not None
    quote, settlement = part.terms.quote, part.bill.settlement
    worker = worker_amount(owed, quote.price)
    due = (worker, client_amount(worker, quote.commission_basis_points))
    charged = (settlement.worker_amount, part.cost)
    account.hold(charged == due, f"charged {charged}, due were {due} nanoTON")
    account.workers_earned += settlement.worker_amount


async def all_are_paid(network: LocalNetwork, account: Account) -> None:
    """Wait until the proxy has agreed with every worker that was lost on what it earned."""
    with trio.fail_after(BOUND_SECONDS):
        while True:
            views = await ask_proxy(network, CHANNELS, ListChannels())
            paid = sum(view.charged_nano for view in views if view.side == "payer")
            if paid >= account.workers_earned:
                return
            await trio.sleep(0.1)


def check_books(books: Books, account: Account) -> None:
    """Hold everybody's ledgers against the papers."""
    account.faults += books.faults
    spent = -books.earned("client")
    earned = sum(books.earned(f"worker-{number}") for number in range(1, WORKERS + 1))
    account.hold(
        spent == account.client_paid, f"the client's books say {spent}, its papers {account.client_paid}"
    )
    account.hold(
        earned == account.workers_earned, f"the workers' say {earned}, their papers {account.workers_earned}"
    )
    account.hold(spent - earned == books.commission, "the commission is not the difference")
