"""What all requests of one client share."""

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from cocoon_p2p.attestation.doorkeeper import Doorkeeper
from cocoon_p2p.attestation.verdict import Proof
from cocoon_p2p.client.hedging import Allowance, FirstTokens
from cocoon_p2p.client.link import Link
from cocoon_p2p.client.policy import CountPrompt, Policy
from cocoon_p2p.client.proxies import ProxyView
from cocoon_p2p.client.purses import Purses, purses_of
from cocoon_p2p.client.request import Request, is_plain_text
from cocoon_p2p.client.standing import Standings
from cocoon_p2p.errors import Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import NetworkId, PeerId, peer_id_text
from cocoon_p2p.journal import Journal
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.protocols.exchange.carried import wanted_by
from cocoon_p2p.protocols.exchange.client import Order
from cocoon_p2p.protocols.exchange.terms import Rules, Terms
from cocoon_p2p.protocols.ids import Role, Trust
from cocoon_p2p.protocols.messages import Ask, Quote, Record, Signed
from cocoon_p2p.protocols.papers import check
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.records import check_pair, check_record

log = logging.getLogger(__name__)


EXAMINE_SECONDS = 45.0
"How long finding out about one worker may take, Intel's lists from slow mirrors included."

UNASKED_SECONDS = 1.0
"How long a request that asks for no proof waits for one all the same: it is only shown."

UNLEARNT_SECONDS = 60.0
UNLEARNT_MAX = 256
"How long it then waits no more, and of how many machines that is remembered."


@dataclass(frozen=True, slots=True)
class Unlearnt:
    """Why nothing was learnt of a machine."""

    at: float
    "On trio's clock."

    why: str


@dataclass(slots=True)
class Desk:
    """The parts that a client was given, and the links that it has made with them."""

    transport: Transport
    accounts: Accounts
    network: NetworkId
    policy: Policy
    view: ProxyView
    nursery: trio.Nursery
    "Lives as long as the client; tasks in it raise nothing."

    clock: Callable[[], float] = time.time
    draw: Callable[[int], bytes] = os.urandom
    doorkeeper: Doorkeeper | None = None
    "Finds out what machines prove; None: nothing is proven."

    journal: Journal = field(default_factory=Journal)
    standings: Standings = field(init=False)
    "What the client holds against peers."

    purses: Purses = field(init=False)
    "Whose budgets requests are paid from."

    allowance: Allowance = field(default_factory=Allowance)
    "How often answers may be bought twice still, because the first token is late."

    first_tokens: FirstTokens = field(default_factory=FirstTokens)
    "How long they took lately, against what was expected."

    links: dict[PeerId, Link] = field(default_factory=dict[PeerId, Link])
    unlearnt: OrderedDict[bytes, Unlearnt] = field(default_factory=OrderedDict[bytes, Unlearnt])
    "Why nothing is known of a machine, by the hash of its statement."

    learning: dict[bytes, trio.Event] = field(default_factory=dict[bytes, trio.Event])
    "What is being found out, by the hash of a statement; set when it is done."

    def __post_init__(self) -> None:
        self.standings = Standings(self.accounts.store, self.clock)
        self.purses = purses_of(self.accounts, self.clock)
        if self.doorkeeper is not None:
            self.doorkeeper.watch(self.forget_sessions)

    def link(self, record: Record) -> Link:
        """Give the link to a proxy, with its newest record."""
        peer = PeerId(record.peer)
        link = self.links.get(peer)
        if link is None:
            link = self.links[peer] = Link(
                record,
                transport=self.transport,
                accounts=self.accounts,
                policy=self.policy,
                clock=self.clock,
                nursery=self.nursery,
                doorkeeper=self.doorkeeper,
            )
        link.record = record
        return link

    def rules(self, record: Record) -> Rules:
        """Say what is insisted on with this proxy: it may not take more than its own record says."""
        policy = self.policy
        return Rules(
            commission_basis_points_max=min(
                policy.commission_basis_points_max, record.commission_basis_points
            ),
            window_tokens_max=policy.window_tokens_max,
            appraise=self._appraise,
        )

    def order(
        self, request: Request, ask: Ask, record: Record, deadline: float, *, like: Terms | None = None
    ) -> Order:
        """Say what is wanted of a proxy, by when (on trio's clock), on what conditions.

        `like` is on what terms the answer began that is to be gone on with.
        """
        count, rules = self.policy.count_prompt, self.rules(record)
        order = Order(
            ask,
            PeerId(record.peer),
            self.network,
            rules if like is None else replace(rules, tokenizer_hash=like.offer.tokenizer_hash),
            deadline,
            prompt_tokens_max=request.prompt_tokens_bound,
            wanted=wanted_by(request.content),
        )
        return order if count is None else replace(order, count_prompt=partial(_count, count, request))

    def _appraise(self, record: Record, statement: Signed) -> Proof:
        """Say what was found out about a worker's machine; `learn` comes before."""
        if self.doorkeeper is None:
            return Proof(Trust.OPEN, why="this client examines nobody")
        proof = self.doorkeeper.proof(record, statement)
        if proof.verdict is None and (unlearnt := self.unlearnt.get(record.statement_hash)) is not None:
            return replace(proof, why=unlearnt.why)
        return proof

    async def learn(self, signed: Signed, *, via: PeerId, asked: Trust) -> None:
        """Find out about the worker of a quote, as far as that is possible; the quote is not judged here.

        Whoever asks for no proof waits a moment at most, and not again for a while where there was none.
        A cancel leaves nothing but, perhaps, a verdict.
        """
        if self.doorkeeper is None:
            return
        try:
            quote = check(Quote, signed, signer=via, network=self.network)
            now, network = self.clock(), self.network
            record = check_record(quote.worker_record, network=network, now=now, role=Role.WORKER)
            check_pair(record, quote.worker_statement, network=network, now=now, role=Role.WORKER)
        except RemoteProtocolError:
            # Judging the quote says what is wrong with it.
            return
        if self.doorkeeper.proof(record, quote.worker_statement).verdict is not None:
            # As with all but the first quotes of a worker.
            return
        if record.evidence_hash is not None and (asked is not Trust.OPEN or self._may_try(record)):
            done = self.learning.get(record.statement_hash)
            if done is None:
                # It goes on when this request no longer waits: the next one finds what came of it.
                done = self.learning[record.statement_hash] = trio.Event()
                self.nursery.start_soon(self._learn, record, quote.worker_statement, via, done)
            with trio.move_on_after(UNASKED_SECONDS if asked is Trust.OPEN else float("inf")) as scope:
                await done.wait()
            if scope.cancelled_caught:
                self._note(record, "the proxy is slow to show its evidence")

    async def _learn(self, record: Record, statement: Signed, via: PeerId, done: trio.Event) -> None:
        assert self.doorkeeper is not None
        why = "finding out takes too long"
        try:
            with trio.move_on_after(EXAMINE_SECONDS):
                await self.doorkeeper.learn(record, statement, via=via)
                self.unlearnt.pop(record.statement_hash, None)
                return
        except (RemoteProtocolError, Refused, Unavailable) as exc:
            why = str(exc)
        finally:
            del self.learning[record.statement_hash]
            done.set()
        log.info("nothing learnt of a worker", extra={"proxy": peer_id_text(via), "why": why})
        self._note(record, why)

    def _note(self, record: Record, why: str) -> None:
        self.unlearnt[record.statement_hash] = Unlearnt(trio.current_time(), why)
        if len(self.unlearnt) > UNLEARNT_MAX:
            self.unlearnt.popitem(last=False)

    def _may_try(self, record: Record) -> bool:
        unlearnt = self.unlearnt.get(record.statement_hash)
        return unlearnt is None or trio.current_time() >= unlearnt.at + UNLEARNT_SECONDS

    def evidence(self, terms: Terms) -> bytes | None:
        """Give what a quoted worker's machine showed, as far as it was fetched."""
        record = decode_paper(Record, terms.quote.worker_record.body)
        if self.doorkeeper is None or record.evidence_hash is None:
            return None
        return self.doorkeeper.evidence(record.evidence_hash)

    def forget_sessions(self) -> None:
        """Greet every worker anew: under another policy its keys may be worth nothing."""
        for link in self.links.values():
            link.forget_sessions()

    def close(self) -> None:
        """Give up the streams that are kept open."""
        for link in self.links.values():
            link.close()


def _count(count: CountPrompt, request: Request, tokenizer_hash: bytes) -> int | None:
    # Templates say tools in their own ways, and what a picture comes to is not the tokenizer's to say.
    return count(tokenizer_hash, request.content) if is_plain_text(request.content) else None
