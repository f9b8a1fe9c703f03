"""Servers that lie, hang, lag and leave, on real sockets: what is told stays true, or is not told."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.payments.boc import read_boc, write_boc
from cocoon_p2p.payments.cells import Builder, Cell, stub
from cocoon_p2p.payments.chain import MessageRefused
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import (
    DevChain,
    Limits,
    Status,
    address_of,
    external_message,
    local_config,
    state_init,
)
from cocoon_p2p.payments.devchain import lite_answers as answers
from cocoon_p2p.payments.devchain import lite_queries as asked
from cocoon_p2p.payments.devchain.answering import answer
from cocoon_p2p.payments.devchain.merkle import merkle_proof, only
from cocoon_p2p.payments.devchain.tl import encode
from cocoon_p2p.payments.lite import LOCAL, Unreadable, history, open_chain
from cocoon_p2p.payments.lite import heads as heads_module
from cocoon_p2p.payments.lite import server as server_module
from cocoon_p2p.testing.chain import LocalChain
from tests.payments.devchain.bait import ACCEPTED, CODE, NOTE, STRANGER, THROW, deployed, say, say_destroy
from tests.payments.lite.scene import (
    CLOSE,
    CUT,
    ENDLESS,
    HANG,
    HASTY,
    NOW,
    Scene,
    Server,
    Tamper,
    forked,
    honest,
    staged,
)

pytestmark = pytest.mark.slow

PLACE = AccountId(STRANGER)
BUSY = answers.LiteError(-503, "too many requests")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hear everybody out: a busy machine makes honest servers slow."""
    monkeypatch.setattr(heads_module, "HURRY_SECONDS", 20.0)
    monkeypatch.setattr(server_module, "REST_FIRST_SECONDS", 0.05)
    monkeypatch.setattr(heads_module, "BEHIND_MAX", 1)


def paid(chain: DevChain, amount: int = 5) -> None:
    chain.give(STRANGER, amount)
    chain.make_block()


def set_aside(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give the operators that were caught lying."""
    return [
        record.__dict__["operator"] for record in caplog.records if record.message == "lite server set aside"
    ]


def only_for(kind: type, said: Callable[[object], object]) -> Tamper:
    """Be honest but when one thing is asked."""
    return lambda query, answered: said(answered) if isinstance(query, kind) else answered


# ---------------------------------------------------------------- lies about accounts


def another_state(answered: object) -> object:
    other = DevChain(now=NOW)
    paid(other, 10**15)
    assert isinstance(answered, answers.AccountState)
    return replace(answered, state=other.account(STRANGER).state)


def no_state(answered: object) -> object:
    assert isinstance(answered, answers.AccountState)
    return replace(answered, state=b"")


def proof_of_another_chain(answered: object) -> object:
    other = DevChain(now=NOW)
    paid(other, 10**15)
    told = answer(other, asked.GetAccountState(other.last.master.id, asked.AccountName(0, STRANGER)))
    assert isinstance(answered, answers.AccountState)
    assert isinstance(told, answers.AccountState)
    return replace(told, id=answered.id)


def changed(name: str, value: bytes) -> Callable[[object], object]:
    def change(answered: object) -> object:
        assert isinstance(answered, answers.AccountState)
        return replace(answered, **{name: value})

    return change


LIES: dict[str, Callable[[object], object]] = {
    "another state": another_state,
    "no state": no_state,
    "another chain's proof": proof_of_another_chain,
    "no proof": changed("proof", b""),
    "no shard proof": changed("shard_proof", b""),
    "noise for a proof": changed("proof", bytes(range(256))),
    "noise for a state": changed("state", b"\xb5\xee\x9c\x72" + bytes(40)),
    "another answer": lambda _: answers.CurrentTime(5),
    "no answer": lambda _: b"",
    "an answer cut short": lambda answered: encode(answered)[:-8],
    "an answer with more": lambda answered: encode(answered) + bytes(4),
}


@pytest.mark.parametrize("lie", list(LIES))
async def test_who_lies_about_an_account_is_set_aside_and_the_truth_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lie: str
) -> None:
    async with staged(tmp_path) as scene:
        paid(scene.chain)
        liar = await scene.server("liar", only_for(asked.GetAccountState, LIES[lie]))
        await scene.server("a")
        await scene.server("b")
        async with scene.opened() as port:
            for _ in range(3):
                seen = await port.account(PLACE)
                assert seen == await LocalChain(scene.chain).account(PLACE)

        questions = sum(isinstance(query, asked.GetAccountState) for query in liar.asked)
        assert (set_aside(caplog), questions) in ((["liar"], 1), ([], 0))


async def test_a_liar_alone_with_one_other_stops_all_and_is_believed_in_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        paid(scene.chain)
        await scene.server("liar", only_for(asked.GetAccountState, another_state))
        await scene.server("liar too", only_for(asked.GetAccountState, another_state))
        async with scene.opened() as port:
            with pytest.raises(Unavailable):
                await port.account(PLACE)


# ---------------------------------------------------------------- chains of their own


async def test_who_serves_a_chain_of_its_own_is_set_aside_by_two_who_agree(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with staged(tmp_path) as scene:
        fork = forked(scene.chain)
        paid(fork, 10**15)
        paid(scene.chain)
        await scene.server("liar", chain=fork)
        await scene.server("a")
        await scene.server("b")
        async with scene.opened() as port:
            assert (await port.account(PLACE)).balance == 5

        assert set_aside(caplog) == ["liar"]


async def test_a_chain_of_its_own_that_is_ahead_does_not_count(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        fork = forked(scene.chain)
        for _ in range(9):
            paid(fork, 10**15)
        paid(scene.chain)
        await scene.server("liar", chain=fork)
        await scene.server("a")
        await scene.server("b")
        async with scene.opened() as port:
            assert (await port.account(PLACE)).balance == 5


async def test_of_two_who_disagree_nobody_is_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with staged(tmp_path) as scene:
        fork = forked(scene.chain)
        paid(fork, 10**15)
        paid(scene.chain)
        await scene.server("liar", chain=fork)
        await scene.server("a")
        async with scene.opened() as port:
            with pytest.raises(Unavailable) as caught:
                await port.account(PLACE)

        assert "agree" in str(caught.value)
        assert caught.value.hint
        assert any(record.message == "lite servers disagree" for record in caplog.records)
        assert set_aside(caplog) == []


async def test_two_servers_of_one_operator_are_one_word(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        fork = forked(scene.chain)
        paid(fork, 10**15)
        paid(scene.chain)
        await scene.server("liar", chain=fork)
        await scene.server("liar", chain=fork)
        await scene.server("a")
        async with scene.opened() as port:
            with pytest.raises(Unavailable):
                await port.account(PLACE)


async def test_another_network_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with staged(tmp_path) as scene:
        await scene.server("elsewhere", chain=DevChain(now=NOW + 1))
        await scene.server("a")
        await scene.server("b")
        async with scene.opened() as port:
            await port.time()

        assert set_aside(caplog) == ["elsewhere"]


async def test_another_network_is_not_believed_even_where_one_word_is_enough(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        await scene.server("elsewhere", chain=DevChain(now=NOW + 1))
        async with scene.opened(operators_min=1) as port:
            with pytest.raises(Unavailable):
                await port.time()


async def test_blocks_marked_for_another_network_are_not_believed(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        await scene.server("a")
        await scene.server("b")
        wrong = replace(scene.network(), global_id=-239)
        async with open_chain(scene.config, wrong, limits=HASTY) as port:
            assert port.global_id == -239
            with pytest.raises(Unavailable):
                await port.time()


@pytest.mark.parametrize("global_id", [-239, -3])
async def test_a_local_chain_that_poses_as_a_public_one_is_refused(tmp_path: Path, global_id: int) -> None:
    async with staged(tmp_path) as scene:
        scene.chain = DevChain(now=NOW, config=local_config(global_id))
        await scene.server("a")
        with pytest.raises(Unavailable):
            async with open_chain(scene.config, LOCAL, limits=HASTY):
                pass


async def test_a_local_chains_id_is_its_own(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        scene.chain = DevChain(now=NOW, config=local_config(77))
        await scene.server("a")
        async with open_chain(scene.config, LOCAL, limits=HASTY) as port:
            assert port.global_id == 77


async def test_blocks_of_yesterday_do_not_pass_for_todays(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        await scene.server("a")
        await scene.server("b")
        network = scene.network(is_of_now=True)
        async with open_chain(scene.config, network, limits=HASTY, clock=lambda: NOW + 200) as port:
            assert await port.time() == NOW
        async with open_chain(scene.config, network, limits=HASTY, clock=lambda: NOW + 3600) as port:
            with pytest.raises(Unavailable) as caught:
                await port.time()

        assert "3600 s" in str(caught.value)


# ---------------------------------------------------------------- time


def lagging(scene: Scene, blocks: int) -> Tamper:
    """Tell of the newest block but `blocks`."""

    def tamper(_: object, answered: object) -> object:
        if not isinstance(answered, answers.MasterchainInfo):
            return answered
        pair = scene.chain.history.pair(max(0, answered.last.seqno - blocks))
        assert pair is not None
        return replace(answered, last=pair.master.id)

    return tamper


async def test_what_counts_is_the_newest_block_that_two_have(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        for number in range(8):
            scene.chain.now += 10
            paid(scene.chain, number + 1)
        for operator, blocks in (("a", 0), ("b", 2), ("c", 5)):
            await scene.server(operator, lagging(scene, blocks))
        async with scene.opened() as port:
            assert await port.time() == NOW + 8 * 10 - 2 * 10


async def test_what_was_told_is_never_taken_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with staged(tmp_path) as scene:
        for _ in range(8):
            scene.chain.now += 10
            paid(scene.chain)
        a, b = await scene.server("a"), await scene.server("b")
        async with scene.opened() as port:
            before = await port.account(PLACE)
            a.tamper = b.tamper = lagging(scene, 1)
            for place in (PLACE, AccountId(bytes(32))):
                with pytest.raises(Unavailable):
                    await port.account(place)
            a.tamper = b.tamper = lagging(scene, 5)
            with pytest.raises(Unavailable):
                await port.time()
            a.tamper = b.tamper = honest
            await trio.sleep(0.5)

            assert await port.account(PLACE) == before

        assert any("back in time" in record.__dict__.get("why", "") for record in caplog.records)


async def test_one_that_goes_back_in_time_holds_up_nobody(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        for _ in range(8):
            scene.chain.now += 10
            paid(scene.chain)
        a, _, _ = await scene.server("a"), await scene.server("b"), await scene.server("c")
        async with scene.opened() as port:
            before = await port.time()
            a.tamper = lagging(scene, 5)
            scene.chain.now += 10
            paid(scene.chain)

            assert await port.time() == before + 10


async def test_one_that_is_a_little_behind_is_waited_for_and_not_blamed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with staged(tmp_path) as scene:
        for _ in range(8):
            scene.chain.now += 10
            paid(scene.chain)
        a, b = await scene.server("a"), await scene.server("b")
        async with scene.opened() as port:
            before = await port.time()
            a.tamper = lagging(scene, 1)
            with pytest.raises(Unavailable):
                await port.time()
            a.tamper = honest

            assert await port.time() == before
        assert not any(record.message == "lite server failed" for record in caplog.records)
        assert [a.connections, b.connections] == [1, 1]


async def test_a_server_that_only_answers_errors_rests(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        busy = await scene.server("busy", lambda *_: BUSY)
        await scene.server("a")
        await scene.server("b")
        async with scene.opened() as port:
            for _ in range(8):
                await port.time()

        assert len(busy.asked) < 5


async def test_a_header_without_the_states_update_is_one(tmp_path: Path) -> None:
    # As real servers answer: they show no more than was asked for.
    def bare(_: object, answered: object) -> object:
        if not isinstance(answered, answers.BlockHeader):
            return answered
        (proof,) = read_boc(answered.header_proof)
        return replace(answered, header_proof=write_boc(merkle_proof(only(proof.references[0], 0))))

    async with staged(tmp_path) as scene:
        paid(scene.chain)
        await scene.server("a", bare)
        await scene.server("b", lambda query, answered: bare(query, lagging(scene, 1)(query, answered)))
        async with scene.opened() as port:
            assert await port.time() == NOW


@pytest.mark.slow
async def test_a_look_up_that_was_overtaken_is_done_again(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        paid(scene.chain)
        hung = trio.Event()

        def hang_once(answered: object) -> object:
            if hung.is_set():
                return answered
            hung.set()
            return HANG

        for operator in ("a", "b"):
            await scene.server(operator, only_for(asked.GetAccountState, hang_once))
        # Both servers are needed: an honest one that a busy machine makes slow must not come to rest.
        limits = replace(HASTY, answer_seconds=1.5, call_seconds=20.0)
        async with scene.opened(limits=limits) as port:
            balances: list[int] = []

            async def look() -> None:
                balances.append((await port.account(PLACE)).balance)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(look)
                await hung.wait()
                paid(scene.chain)
                await look()

        assert balances == [10, 10]


# ---------------------------------------------------------------- silence


@pytest.mark.parametrize("said", [HANG, CLOSE, CUT, ENDLESS], ids=["hangs", "closes", "cut", "endless"])
async def test_who_does_not_answer_holds_up_nobody_for_long(
    tmp_path: Path, said: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_module, "HURRY_SECONDS", 0.05)
    async with staged(tmp_path) as scene:
        silent = await scene.server("silent", lambda *_: said)
        await scene.server("a")
        await scene.server("b")
        async with scene.opened(limits=HASTY) as port:
            began = trio.current_time()
            await port.time()
            first = trio.current_time() - began
            for _ in range(5):
                await port.time()

            assert first < 2
            # It rests meanwhile.
            assert len(silent.asked) < 5


async def test_who_accepts_and_says_nothing_at_all_is_given_up(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:

        async def swallow(stream: trio.abc.Stream) -> None:
            async with stream:
                while await stream.receive_some(1 << 16):
                    pass

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        scene.nursery.start_soon(trio.serve_listeners, swallow, [listener])
        mute = Server(scene.chain, "mute", port=listener.socket.getsockname()[1])
        scene.servers.append(mute)
        await scene.server("a")
        async with scene.opened(limits=HASTY) as port:
            began = trio.current_time()
            with pytest.raises(Unavailable):
                await port.time()

            assert trio.current_time() - began < HASTY.call_seconds + 1


async def test_nobody_there_is_said_so(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        gone = await scene.server("a")
        gone.stop()
        with pytest.raises(Unavailable) as caught:
            async with open_chain(scene.config, LOCAL, limits=HASTY):
                pass

        assert caught.value.hint


async def test_a_server_that_comes_back_is_found_again(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        server = await scene.server("a")
        async with scene.opened(operators_min=1) as port:
            await port.time()
            server.stop()
            with pytest.raises(Unavailable):
                await port.time()
            await scene.nursery.start(server.listen)
            await trio.sleep(0.5)

            assert await port.time() == NOW
        assert server.connections == 2


async def test_who_answered_again_rests_no_longer_than_at_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with staged(tmp_path) as scene:
        server = await scene.server("a")
        async with scene.opened(operators_min=1) as port:
            for _ in range(2):
                server.tamper = lambda *_: BUSY
                with pytest.raises(Unavailable):
                    await port.time()
                server.tamper = honest
                await trio.sleep(0.5)
                await port.time()

        rests = [
            record.__dict__["rest_seconds"]
            for record in caplog.records
            if record.message == "lite server failed"
        ]
        assert rests == [0.05, 0.1, 0.2] * 2


async def test_a_connection_that_was_closed_meanwhile_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with staged(tmp_path) as scene:
        server = await scene.server("a")
        async with scene.opened(operators_min=1) as port:
            await port.time()
            server.stop()
            await trio.sleep(0.05)
            await scene.nursery.start(server.listen)

            assert await port.time() == NOW
        assert not any(record.message == "lite server failed" for record in caplog.records)


# ---------------------------------------------------------------- accounts of all kinds


def bulky(leaves: int) -> Cell:
    """Make a tree of many cells, each another one."""
    row = [Builder().uint(number, 1000).cell() for number in range(leaves)]
    while len(row) > 1:
        row = [parent(row[start : start + 4]) for start in range(0, len(row), 4)]
    return row[0]


def parent(children: list[Cell]) -> Cell:
    builder = Builder()
    for child in children:
        builder.reference(child)
    return builder.cell()


async def test_a_huge_account_is_not_read_and_nobody_is_blamed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    init = state_init(CODE, write_boc(bulky(2400)))
    async with staged(tmp_path) as scene:
        scene.chain.give(address_of(init), 10**12, init=init)
        scene.chain.make_block()
        assert scene.chain.account(address_of(init)).code is not None
        await scene.server("a")
        await scene.server("b")
        async with scene.opened() as port:
            with pytest.raises(Unreadable):
                await port.account(AccountId(address_of(init)))

            assert (await port.account(PLACE)).balance == 0
        assert set_aside(caplog) == []


async def test_that_an_account_is_too_large_is_not_one_servers_word(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        paid(scene.chain)
        await scene.server("liar", only_for(asked.GetAccountState, changed("state", bytes(1 << 19))))
        await scene.server("liar too", only_for(asked.GetAccountState, changed("state", bytes(1 << 19))))
        # Behind the liars, it is asked after them.
        scene.chain.make_block()
        await scene.server("a", lagging(scene, 1))
        async with scene.opened() as port:
            assert (await port.account(PLACE)).balance == 5


async def test_a_large_account_is_read(tmp_path: Path) -> None:
    init = state_init(CODE, write_boc(bulky(1000)))
    async with staged(tmp_path) as scene:
        scene.chain.give(address_of(init), 10**12, init=init)
        await scene.server("a")
        await scene.server("b")
        place = AccountId(address_of(init))
        expected = await LocalChain(scene.chain).account(place)
        async with scene.opened() as port:
            assert await port.account(place) == expected


async def test_frozen_and_forgotten_accounts_are_told_as_they_are(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        scene.chain = DevChain(now=1)
        frozen, forgotten = deployed(scene.chain, 1, 10**7), deployed(scene.chain, 2, 10**7)
        scene.chain.give(frozen, 2 * 10**7, body=say(NOTE))
        scene.chain.now += 60 * 366 * 24 * 3600
        scene.chain.give(frozen, 0)
        scene.chain.give(forgotten, 0)
        assert scene.chain.account(frozen).status is Status.FROZEN
        direct = LocalChain(scene.chain)
        await direct.time()
        await scene.server("a")
        await scene.server("b")
        async with scene.opened() as port:
            for place in (frozen, forgotten):
                seen = await port.account(AccountId(place))

                assert seen == await direct.account(AccountId(place))
                assert seen.code is None


# ---------------------------------------------------------------- transactions


def of_list(change: Callable[[answers.TransactionList], object]) -> Tamper:
    def tamper(_: object, answered: object) -> object:
        return change(answered) if isinstance(answered, answers.TransactionList) else answered

    return tamper


def whole(data: bytes) -> list[Cell]:
    return list(read_boc(data))


def without_first(told: answers.TransactionList) -> object:
    return replace(told, ids=told.ids[1:], transactions=write_boc(*whole(told.transactions)[1:]))


def without_one_between(told: answers.TransactionList) -> object:
    roots = whole(told.transactions)
    return replace(told, ids=told.ids[1:], transactions=write_boc(roots[0], *roots[2:]))


def twice(told: answers.TransactionList) -> object:
    roots = whole(told.transactions)
    return replace(told, transactions=write_boc(roots[0], *roots))


def with_another_amount(told: answers.TransactionList) -> object:
    other = DevChain(now=NOW)
    paid(other, 10**15)
    (made,) = other.history.transactions(STRANGER, up_to_lt=1 << 63, count=1)
    return replace(told, ids=told.ids[:1], transactions=made.transaction.boc)


def pruned(told: answers.TransactionList) -> object:
    roots = [
        Cell(root.bits, root.data, [stub(one.hash, one.depth) for one in root.references])
        for root in whole(told.transactions)
    ]
    return replace(told, transactions=write_boc(*roots))


LISTS: dict[str, Callable[[answers.TransactionList], object]] = {
    "leaves out the newest": without_first,
    "leaves out one between": without_one_between,
    "tells one twice": twice,
    "tells another": with_another_amount,
    "leaves out what is in them": pruned,
    "tells nothing": lambda told: replace(told, ids=(), transactions=b""),
    "noise": lambda told: replace(told, transactions=bytes(range(200))),
    "says there are many": lambda told: replace(told, ids=told.ids * 17),
}


@pytest.mark.parametrize("lie", list(LISTS))
async def test_who_changes_an_accounts_history_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lie: str
) -> None:
    async with staged(tmp_path) as scene:
        for number in range(5):
            paid(scene.chain, number + 1)
        for operator in ("liar", "liar too"):
            await scene.server(operator, of_list(LISTS[lie]))
        await scene.server("a")
        async with scene.opened() as port:
            told = await port.transactions(PLACE)

        assert told == await LocalChain(scene.chain).transactions(PLACE)
        assert 1 <= len(set_aside(caplog)) <= 2
        assert "a" not in set_aside(caplog)


async def test_an_earlier_life_of_an_account_is_not_in_its_history(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        bait = deployed(scene.chain)
        scene.chain.give(bait, 10**9, body=say_destroy(STRANGER))
        scene.chain.make_block()
        for amount in (7, 8):
            scene.chain.give(bait, amount)
        scene.chain.make_block()
        await scene.server("a")
        await scene.server("b")
        async with scene.opened() as port:
            told = await port.transactions(AccountId(bait))

    assert [one.received.amount for one in told if one.received] == [7, 8]


async def test_what_all_have_forgotten_is_a_gap(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        scene.chain = DevChain(now=NOW, limits=Limits(transactions=20))
        for number in range(50):
            paid(scene.chain, number + 1)
        await scene.server("a")
        await scene.server("b")
        async with scene.opened() as port:
            told = await port.transactions(PLACE)

    assert [one.received.amount for one in told if one.received] == list(range(31, 51))


async def test_a_server_that_claims_to_have_forgotten_is_not_the_last_word(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        for number in range(20):
            paid(scene.chain, number + 1)
        for operator in ("a", "b"):
            await scene.server(operator, of_list(lambda _: answers.LiteError(651, "not found")))
        await scene.server("c")
        async with scene.opened() as port:
            assert len(await port.transactions(PLACE)) == 20


async def test_a_history_of_which_nobody_knows_the_end_is_not_empty_but_unknown(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        paid(scene.chain)
        for operator in ("a", "b"):
            await scene.server(operator, of_list(lambda _: answers.LiteError(651, "not found")))
        async with scene.opened() as port:
            with pytest.raises(Unavailable):
                await port.transactions(PLACE)


async def test_no_more_is_read_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "TRANSACTIONS_MAX", 30)
    async with staged(tmp_path) as scene:
        for number in range(100):
            scene.chain.give(STRANGER, number)
        scene.chain.make_block()
        await scene.server("a")
        await scene.server("b")
        async with scene.opened() as port:
            told = await port.transactions(PLACE)

    assert [one.received.amount for one in told if one.received] == list(range(100 - len(told), 100))
    assert 30 <= len(told) < 30 + 16


# ---------------------------------------------------------------- sending


def on_send(said: object) -> Tamper:
    return only_for(asked.SendMessage, lambda _: said)


CANNOT = "cannot apply external message to current state : "
REFUSES = on_send(answers.LiteError(0, CANNOT + "exitcode=33, steps=5"))


async def test_a_message_that_one_takes_is_taken(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        bait = deployed(scene.chain)
        for operator, tamper in (("a", on_send(HANG)), ("b", REFUSES), ("c", honest)):
            await scene.server(operator, tamper)
        async with scene.opened() as port:
            await port.send(external_message(bait, say(ACCEPTED)))

        assert scene.chain.is_block_due


async def test_it_is_handed_to_servers_of_several_operators(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        bait = deployed(scene.chain)
        for _ in range(5):
            await scene.server("a", on_send(answers.SendStatus(1)))
        honest_one = await scene.server("b")
        async with scene.opened() as port:
            await port.send(external_message(bait, say(ACCEPTED)))

        assert any(isinstance(query, asked.SendMessage) for query in honest_one.asked)


async def test_one_operators_no_is_not_the_contracts(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        bait = deployed(scene.chain)
        for operator, tamper in (("a", on_send(HANG)), ("b", REFUSES), ("b", REFUSES)):
            await scene.server(operator, tamper)
        async with scene.opened(limits=HASTY) as port:
            with pytest.raises(Unavailable):
                await port.send(external_message(bait, say(THROW)))


@pytest.mark.parametrize(
    ("text", "exit_code"),
    [
        (CANNOT + "exitcode=33, steps=17, gas_used=0", 33),
        (CANNOT + "External message was not accepted\nexit code: -14", -14),
        ("External message was not accepted", None),
        (CANNOT + "exitcode=" + "9" * 400, None),
    ],
)
async def test_a_refusal_tells_the_exit_code_where_the_server_does(
    tmp_path: Path, text: str, exit_code: int | None
) -> None:
    async with staged(tmp_path) as scene:
        bait = deployed(scene.chain)
        for operator in ("a", "b"):
            await scene.server(operator, on_send(answers.LiteError(0, text)))
        async with scene.opened() as port:
            with pytest.raises(MessageRefused) as caught:
                await port.send(external_message(bait, say(THROW)))

    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize(
    "said", [answers.LiteError(-503, "too many requests"), answers.SendStatus(0), HANG, b"no"]
)
async def test_what_is_no_refusal_is_none(tmp_path: Path, said: object) -> None:
    async with staged(tmp_path) as scene:
        bait = deployed(scene.chain)
        for operator in ("a", "b"):
            await scene.server(operator, on_send(said))
        async with scene.opened(limits=HASTY) as port:
            with pytest.raises(Unavailable):
                await port.send(external_message(bait, say(ACCEPTED)))
