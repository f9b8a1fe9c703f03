"""A step is told as made only when it is: somebody answered, somebody else tells of us, somebody paid."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.config import Loaded, NetworkSection, ProxyFile, WorkerFile
from cocoon_p2p.config.roles import WorkerSection
from cocoon_p2p.config.sections import AttestationSection, ChainSection
from cocoon_p2p.identity import PeerId, network_id, peer_id_text
from cocoon_p2p.inference.engine import GenerateRequest, Piece
from cocoon_p2p.journal import Entry, Journal
from cocoon_p2p.network.libp2p.kad import KadDirectory
from cocoon_p2p.node.joining import (
    GAS_MIN,
    tell_attestation,
    tell_bootstrap,
    tell_chain,
    tell_first_job,
    tell_seen,
)
from cocoon_p2p.node.steps import Steps, open_steps
from cocoon_p2p.node.warming import TOKENS, TRY_SECONDS, warm_all
from cocoon_p2p.payments.address import parse_address
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.treasury.rounds import Treasury
from cocoon_p2p.payments.wallet import WalletKey
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.protocols.ids import Kind, Role
from cocoon_p2p.protocols.messages import ModelOffer, Price, Record
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.records import make_record, make_statement, select_newest
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from tests.network.libp2p.kad_nodes import Nodes, identity, network, until
from tests.payments.wallets import MemoryJournal

NETWORK = "demo"
PROXY = 10
MODEL = ModelOffer("cocoon-demo", bytes(32), bytes(32), Kind.CHAT, 4096, (), Price(1, 0, 1, 1), True)
EXCHANGE = Entry(
    exchange=bytes(16), role="worker", model="cocoon-demo", outcome="finished", began_at=0.0, seconds=1.0,
    completion_tokens=28, income=560,
)  # fmt: skip


class Told:
    """Keeps what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, dict[str, object]]] = []
        self._send, self._receive = trio.open_memory_channel[tuple[str, dict[str, object]]](64)

    def __call__(self, step: str, **facts: object) -> None:
        self.steps.append((step, facts))
        self._send.send_nowait((step, facts))

    async def next(self) -> tuple[str, str]:
        """Wait for the next step; give its name and status."""
        with trio.fail_after(60):
            step, facts = await self._receive.receive()
        return step, str(facts.get("status", "ok"))


@pytest.fixture
def told() -> Told:
    return Told()


# ---------------------------------------------------------------- who sees us


def record_of(models: Sequence[ModelOffer], *, sequence: int, proxy: int = PROXY) -> bytes:
    statement = make_statement(
        identity(proxy), network_id(NETWORK), role=Role.PROXY, sealing_key=bytes(32), now=time.time(),
        nonce=bytes(16),
    )  # fmt: skip
    return encode_signed(
        make_record(
            identity(proxy),
            network_id(NETWORK),
            role=Role.PROXY,
            statement=statement,
            addresses=["/ip4/127.0.0.1/tcp/4002"],
            models=models,
            now=time.time(),
            sequence=sequence,
        )
    )


def names_our_model(record: Record) -> Mapping[str, object] | None:
    named = [offer.name for offer in record.models if offer.name == MODEL.name]
    return {"models": named} if named else None


async def start(
    nodes: Nodes, number: int, bootstrap: Sequence[str] = ()
) -> tuple[Sequence[str], KadDirectory]:
    transport, directory = await nodes.start(number, bootstrap, validate=None, select=select_newest)
    return transport.addresses, directory


async def watch(steps: Steps, directory: KadDirectory) -> None:
    proxies = [identity(PROXY).peer_id]
    await tell_seen(steps, directory, network_id(NETWORK), lambda: proxies, names_our_model)


async def until_kept(directory: KadDirectory) -> set[PeerId]:
    """Search until somebody else than the proxy keeps its record; say who does."""
    while not (kept := await directory.keepers(identity(PROXY).peer_id)):  # noqa: ASYNC110  (each is a search)
        await trio.sleep(0.05)
    return set(kept)


@pytest.mark.slow
async def test_a_model_is_seen_once_a_third_node_hands_out_a_record_that_names_it(told: Told) -> None:
    async with open_steps(told) as steps, network() as nodes:
        addresses, _ = await start(nodes, 1)
        _, proxy = await start(nodes, PROXY, addresses)
        _, worker = await nodes.start(20, addresses, listen="", validate=None, select=select_newest)
        await proxy.publish(record_of([], sequence=1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, steps, worker)
            # The bootstrap keeps a record of the proxy now, and no model is in it.
            await until_kept(worker)
            assert told.steps == []

            await proxy.publish(record_of([MODEL], sequence=2))

            assert await told.next() == ("seen", "ok")
    facts = told.steps[0][1]
    assert facts["models"] == ["cocoon-demo"]
    assert (facts["by"], facts["proxy"]) == tuple(peer_id_text(identity(each).peer_id) for each in (1, PROXY))


@pytest.mark.slow
async def test_what_a_proxy_hands_out_itself_is_nobody_elses_word() -> None:
    async with network() as nodes:
        addresses, proxy = await start(nodes, PROXY)
        _, worker = await nodes.start(20, addresses, listen="", validate=None, select=select_newest)
        _, other = await start(nodes, 1, addresses)
        await until(lambda: proxy.servers_known > 0)
        await proxy.publish(record_of([MODEL], sequence=1))

        by_worker, by_proxy = await until_kept(worker), await until_kept(proxy)
        by_other = await other.keepers(identity(PROXY).peer_id)

    assert by_worker == by_proxy == {identity(1).peer_id}
    assert by_other == {}


@pytest.mark.slow
async def test_the_bootstrap_that_answers_is_told(told: Told) -> None:
    async with open_steps(told) as steps, network() as nodes:
        addresses, first = await start(nodes, 1)
        _, client = await nodes.client(20, addresses)

        await tell_bootstrap(steps, client)
        await tell_bootstrap(steps, first)

    ((step, facts),) = told.steps
    assert (step, facts["peer"]) == ("bootstrap", peer_id_text(identity(1).peer_id))


# ---------------------------------------------------------------- the chain


class Chained:
    """A local chain, and a node's treasury on it."""

    def __init__(self, *, has_wallet: bool) -> None:
        self.devchain = DevChain(now=int(time.time()))
        self.chain = LocalChain(self.devchain)
        self.key = WalletKey.from_seed(bytes(32))
        purse = Purse(self.chain, self.key, MemoryJournal()) if has_wallet else None
        payout = None if has_wallet else AccountId(bytes(32))
        self.treasury = Treasury(self.chain, MemoryStore(MemoryDisk()), payout=payout, purse=purse)


CHAIN = ChainSection(network="local", servers="chain.json")
OURS = NetworkSection(name=NETWORK)
WORKER = Loaded(
    WorkerFile(worker=WorkerSection(model="demo"), network=OURS, chain=CHAIN), Path("worker.toml")
)
PROXY_ON_CHAIN = Loaded(ProxyFile(network=OURS, chain=CHAIN), Path("proxy.toml"))


async def test_a_chain_that_is_away_is_waited_for(told: Told, autojump_clock: MockClock) -> None:
    place = Chained(has_wallet=False)
    place.chain.is_down = True
    async with open_steps(told) as steps, trio.open_nursery() as nursery:
        nursery.start_soon(tell_chain, steps, place.treasury, WORKER)
        assert await told.next() == ("chain", "waiting")

        place.chain.is_down = False

        assert await told.next() == ("chain", "ok")
        assert await told.next() == ("gas", "ok")
    assert "none" in str(told.steps[-1][1]["need"])


async def test_a_proxy_without_gas_is_told_what_to_send_where(told: Told, autojump_clock: MockClock) -> None:
    place = Chained(has_wallet=True)
    async with open_steps(told) as steps, trio.open_nursery() as nursery:
        nursery.start_soon(tell_chain, steps, place.treasury, PROXY_ON_CHAIN)
        assert await told.next() == ("chain", "ok")
        assert await told.next() == ("gas", "waiting")
        wallet = str(told.steps[-1][1]["wallet"])
        assert wallet in str(told.steps[-1][1]["hint"])

        place.devchain.give(parse_address(wallet, global_id=place.chain.global_id).account, GAS_MIN)

        while (made := await told.next()) != ("gas", "ok"):
            assert made == ("gas", "waiting")


async def test_a_proxy_that_cannot_pay_is_told_so(told: Told, autojump_clock: MockClock) -> None:
    place = Chained(has_wallet=False)
    async with open_steps(told) as steps:
        await tell_chain(steps, place.treasury, PROXY_ON_CHAIN)

    assert [(step, facts.get("status", "ok")) for step, facts in told.steps] == [
        ("chain", "ok"),
        ("gas", "failed"),
    ]


async def test_where_no_chain_is_it_is_said(told: Told, autojump_clock: MockClock) -> None:
    async with open_steps(told) as steps:
        await tell_chain(steps, None, WORKER)
        tell_attestation(steps, AttestationSection())

    assert [(step, facts["network"]) for step, facts in told.steps[:1]] == [("chain", "none")]
    assert "nothing is proven" in str(told.steps[1][1]["worth"])


# ---------------------------------------------------------------- work


async def test_the_first_job_that_ended_well_is_told_and_no_other(told: Told) -> None:
    journal = Journal()
    async with open_steps(told) as steps, trio.open_nursery() as nursery:
        nursery.start_soon(tell_first_job, steps, journal, "worker.toml")
        await trio.testing.wait_all_tasks_blocked()

        journal.note(EXCHANGE)
        journal.note(EXCHANGE)
        await trio.testing.wait_all_tasks_blocked()
        journal.note(EXCHANGE)

    assert told.steps == [("first job", {"model": "cocoon-demo", "tokens": 28, "income": 560})]


async def test_a_job_that_failed_is_told_once_and_the_first_good_one_still_counts(told: Told) -> None:
    journal = Journal()
    failed = Entry(
        exchange=bytes(16), role="worker", model="\x1b[2J", outcome="engine-failed", began_at=0.0, seconds=1.0
    )
    async with open_steps(told) as steps, trio.open_nursery() as nursery:
        nursery.start_soon(tell_first_job, steps, journal, "worker.toml")
        await trio.testing.wait_all_tasks_blocked()

        for entry in (failed, failed, EXCHANGE):
            journal.note(entry)

    assert [(step, facts.get("status", "ok")) for step, facts in told.steps] == [
        ("first job", "failed"),
        ("first job", "ok"),
    ]
    assert told.steps[0][1]["outcome"] == "engine-failed"


# ---------------------------------------------------------------- engine


async def test_a_model_is_warm_once_it_has_written_some_tokens(told: Told, autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(["word "] * 20, delay_seconds=0.5)
    async with open_steps(told) as steps:
        await warm_all(engine, engine.capabilities.models, steps)

    ((step, facts),) = told.steps
    assert (step, facts["tokens"]) == ("warm-up", TOKENS)
    assert facts["tokens_per_second"] == pytest.approx(TOKENS / float(str(facts["took_seconds"])), rel=0.01)


@pytest.mark.parametrize("kind", [Kind.EMBEDDING, Kind.TRANSCRIPTION, Kind.COMPLETION])
async def test_a_model_that_does_not_chat_is_warmed_by_what_it_does(
    told: Told, kind: Kind, autojump_clock: MockClock
) -> None:
    engine = ScriptedEngine(models=[scripted_model("one", kind=kind)])
    async with open_steps(told) as steps:
        await warm_all(engine, engine.capabilities.models, steps)

    assert [(step, facts.get("status", "ok")) for step, facts in told.steps] == [("warm-up", "ok")]


async def test_nothing_is_sold_while_no_model_writes_anything(told: Told, autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(["word "] * 20)
    engine.fail_at = 0
    async with open_steps(told) as steps, trio.open_nursery() as nursery:
        nursery.start_soon(warm_all, engine, engine.capabilities.models, steps)
        for _ in range(3):
            assert await told.next() == ("warm-up", "failed")

        engine.fail_at = None

        assert await told.next() == ("warm-up", "ok")
    assert "cocoon bench" in str(told.steps[0][1]["hint"])


async def test_a_model_that_never_answers_does_not_keep_the_others_from_being_sold(
    told: Told, autojump_clock: MockClock
) -> None:
    class OneHangs(ScriptedEngine):
        @asynccontextmanager
        async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
            if request.model == "hangs":
                await trio.sleep_forever()
            async with super().generate(request) as pieces:
                yield pieces

    engine = OneHangs(["word "] * 20, models=[scripted_model("hangs"), scripted_model("works")])
    with trio.fail_after(2 * TRY_SECONDS):
        async with open_steps(told) as steps:
            await warm_all(engine, engine.capabilities.models, steps)

    ends = [(facts["model"], facts.get("status", "ok")) for _, facts in told.steps]
    assert ends[-2:] == [("hangs", "failed"), ("works", "ok")]
