"""What an Ask is answered with: a quote, a refusal that says why, or the settlement of old."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import NetworkId
from cocoon_p2p.payments.settlement import open_accounts
from cocoon_p2p.protocols.ids import (
    EXCHANGE,
    FRAME_SIZE_MAX_NEWCOMER_BYTES,
    RESERVATION_SECONDS,
    UNCLAIMED_RESERVATIONS_MAX,
    Outcome,
    Reason,
    Trust,
)
from cocoon_p2p.protocols.messages import (
    Ask,
    Cancel,
    ChannelId,
    Chunk,
    Heartbeat,
    Hello,
    Load,
    Part,
    Price,
    Quote,
    Quoted,
    Refused,
    Settled,
    Settlement,
)
from cocoon_p2p.protocols.papers import check, message_hash
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano
from tests.proxy.scene import NETWORK, OFFER, OTHER, POLICY, PROXY, HandClient, Scene, now, scene


async def refused(stage: Scene, ask: Ask) -> Refused:
    end = await stage.client.open()
    await end.say(ask)
    return await end.hear(Refused)


def read(quoted: Quoted, network: NetworkId = NETWORK) -> Quote:
    return check(Quote, quoted.quote, signer=PROXY.peer_id, network=network)


# ---------------------------------------------------------------- quotes


async def test_a_quote_answers_the_very_question(autojump_clock: MockClock) -> None:
    async with scene(client_grant=7) as stage:
        ask, end = stage.client.ask(), await stage.client.open()

        await end.say(ask)

        quote = read(await end.hear(Quoted))
        registered = stage.worker.papers()
        assert quote == Quote(
            exchange=ask.exchange,
            ask_hash=message_hash(ask),
            worker_record=registered.record,
            worker_statement=registered.statement,
            price=OFFER.price,
            commission_basis_points=POLICY.commission_basis_points,
            expires=int(now()) + 30,
            grant=7,
            window_tokens=POLICY.window_tokens,
            reserved=True,
        )
        assert stage.proxy.running == 1


async def test_a_price_question_needs_no_channel_and_holds_no_slot(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end = await stage.client.open()

        for _ in range(5):
            await end.say(stage.client.ask(channel=None))
            assert not read(await end.hear(Quoted)).reserved

        assert stage.proxy.running == 0
        assert stage.proxy.workers[0].slots_free == 2


async def test_a_price_is_answered_to_who_has_never_opened_a_channel(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        stranger = stage.network.transport(OTHER, listen=False)
        await stage.dial(stranger)
        async with open_accounts(
            stranger, OTHER, NETWORK, MemoryStore(), grant_policy=lambda _: Nano(0), clock=now
        ) as accounts:
            client = HandClient(stranger, accounts, stage.dice)
            end = await client.open()

            await end.say(client.ask(channel=None))
            await end.hear(Quoted)
            await end.say(client.ask(channel=stage.client.account.channel))

            assert (await end.hear(Refused)).reason is Reason.CHANNEL_UNKNOWN


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "other"}, Reason.UNKNOWN_MODEL),
        ({"weights_hash": b"x" * 32}, Reason.OTHER_WEIGHTS),
        ({"features": ("grammar",)}, Reason.UNKNOWN_FEATURE),
        ({"trust": Trust.TDX}, Reason.TRUST_BELOW_REQUEST),
        ({"max_cost": 30}, Reason.PRICE_ABOVE_LIMIT),
    ],
)
async def test_a_refusal_names_the_worker_and_what_it_lacks(
    changes: dict[str, object], reason: Reason, autojump_clock: MockClock
) -> None:
    async with scene() as stage:
        answer = await refused(stage, stage.client.ask(**changes))

        assert answer.reason is reason
        (candidate,) = answer.candidates
        assert (candidate.worker, candidate.reason) == (stage.worker.identity.peer_id, reason)
        assert stage.proxy.running == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"channel": ChannelId(bytes(32))}, Reason.CHANNEL_UNKNOWN),
        ({"deadline_ms": 0}, Reason.DEADLINE),
    ],
)
async def test_what_no_worker_could_help_is_refused_without_asking_one(
    changes: dict[str, object], reason: Reason, autojump_clock: MockClock
) -> None:
    async with scene() as stage:
        answer = await refused(stage, stage.client.ask(**changes))

        assert (answer.reason, answer.candidates) == (reason, ())


async def test_slots_that_are_taken_are_refused_until_one_is_free(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        (end, job), _other = await stage.begin(), await stage.begin()

        answer = await refused(stage, stage.client.ask())
        assert (answer.reason, answer.retry_after_ms) == (Reason.NO_CAPACITY, answer.wait_ms)

        await job.say(job.chunk(2, final=True))
        await end.hear(Chunk)
        await job.charge(job.receipt())
        await end.hear(Settled)
        await stage.ask()


async def test_other_proxies_exchanges_take_slots_too(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await stage.begin()
        await stage.worker.tell_load(0, 2)

        assert (await refused(stage, stage.client.ask())).reason is Reason.NO_CAPACITY

        await stage.worker.tell_load(1, 2)
        await stage.ask()


async def test_a_client_holds_only_so_many_slots_that_it_does_not_use(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await stage.worker.tell_load(9, 9)
        for _ in range(UNCLAIMED_RESERVATIONS_MAX):
            _ask, end = await stage.ask()

        answer = await refused(stage, stage.client.ask())
        assert answer.reason is Reason.RATE_LIMITED
        assert answer.retry_after_ms is not None

        await end.say(Cancel(_ask.exchange, Reason.CANCELLED))
        assert (await end.hear(Refused)).reason is Reason.CANCELLED
        await stage.ask()


async def test_a_reservation_that_nobody_uses_is_given_up(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask(hold=0)
        assert stage.proxy.workers[0].slots_free == 1

        answer = await end.hear(Refused)

        assert answer.reason is Reason.STALE
        assert trio.current_time() == RESERVATION_SECONDS
        assert stage.proxy.workers[0].slots_free == 2
        # What crossed it on its way is no fault, and the stream is good for the next.
        await end.say(Hello(ask.exchange, b"late"), stage.client.ask())
        await end.hear(Quoted)


async def test_a_client_that_resets_its_stream_gives_the_slot_back(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        _ask, end = await stage.ask(hold=0)

        end.stream.reset()
        await stage.settled()

        assert stage.proxy.workers[0].slots_free == 2
        assert stage.proxy.running == 0


async def test_a_client_may_ask_only_so_often(autojump_clock: MockClock) -> None:
    async with scene(replace(POLICY, asks_per_second=2, asks_burst=3)) as stage:
        end = await stage.client.open()

        async def ask() -> type[object]:
            await end.say(stage.client.ask(channel=None))
            return type(await end.hear(object))

        assert [await ask() for _ in range(5)] == [Quoted, Quoted, Quoted, Refused, Refused]
        await trio.sleep(1)
        assert [await ask() for _ in range(3)] == [Quoted, Quoted, Refused]


async def test_who_buys_may_ask_again_and_who_only_asks_may_not(autojump_clock: MockClock) -> None:
    async with scene(replace(POLICY, asks_per_second=0.001, asks_burst=2)) as stage:
        for _ in range(5):
            end, job = await stage.begin()
            await job.say(job.chunk(2, final=True))
            await end.hear(Chunk)
            await job.charge(job.receipt())
            await stage.client.pay(await end.hear(Settled))
            job.stream.reset()  # else the next job would come on it
            await stage.settled()

        for _ in range(2):
            await stage.ask()
        assert (await refused(stage, stage.client.ask())).reason is Reason.RATE_LIMITED


async def test_a_new_stream_is_no_new_allowance(autojump_clock: MockClock) -> None:
    async with scene(replace(POLICY, asks_per_second=2, asks_burst=1)) as stage:
        first = await stage.client.open()
        await first.say(stage.client.ask(channel=None))
        await first.hear(Quoted)
        first.stream.reset()

        second = await stage.client.open()
        await second.say(stage.client.ask(channel=None))

        assert (await second.hear(Refused)).reason is Reason.RATE_LIMITED


async def test_a_client_has_only_so_many_streams(autojump_clock: MockClock) -> None:
    async with scene(replace(POLICY, streams_per_client_max=2)) as stage:
        kept = [await stage.client.open(), await stage.client.open()]
        one_too_many = await stage.client.open()

        with pytest.raises(Unavailable):
            await one_too_many.hear(object)
        kept[0].stream.reset()
        await stage.settled()

        again = await stage.client.open()
        await again.say(stage.client.ask(channel=None))
        await again.hear(Quoted)


async def test_a_proxy_runs_only_so_many_exchanges(autojump_clock: MockClock) -> None:
    async with scene(replace(POLICY, exchanges_max=1)) as stage:
        await stage.ask()

        assert (await refused(stage, stage.client.ask())).reason is Reason.NO_CAPACITY


# ---------------------------------------------------------------- the same id again


async def test_an_id_that_runs_is_refused(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask()

        assert (await refused(stage, ask)).reason is Reason.ALREADY_RUNNING

        await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))
        assert (await stage.worker.take()).exchange == ask.exchange


async def test_an_id_that_ended_gives_the_old_settlement(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage:
        ask = stage.client.ask()
        end, job = await stage.begin(ask)
        await job.say(job.chunk(2, final=True))
        await end.hear(Chunk)
        await job.charge(job.receipt())
        settled = await end.hear(Settled)
        charged = stage.charged()

        await end.say(ask)

        again = await end.hear(Settled)
        assert again.settlement == settled.settlement
        assert stage.charged() == charged
        settlement = check(Settlement, again.settlement, signer=PROXY.peer_id, network=NETWORK)
        assert settlement.outcome is Outcome.COMPLETED


async def test_an_old_settlement_is_nobody_elses_business(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask = stage.client.ask()
        end, job = await stage.begin(ask)
        await job.say(job.chunk(2, final=True))
        await end.hear(Chunk)
        await job.charge(job.receipt())
        await end.hear(Settled)
        stranger = stage.network.transport(OTHER, listen=False)
        await stage.dial(stranger)
        async with open_accounts(
            stranger, OTHER, NETWORK, MemoryStore(), grant_policy=lambda _: Nano(0), clock=now
        ) as accounts:
            thief = HandClient(stranger, accounts, stage.dice)
            await thief.open_channel()
            theirs = await thief.open()

            await theirs.say(replace(ask, channel=thief.account.channel))

            assert (await theirs.hear(Refused)).reason is Reason.ALREADY_RUNNING


async def test_who_has_paid_is_protected_and_who_only_opened_a_channel_is_not(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage:
        protected = stage.network.transports[PROXY.peer_id].protected
        payer = (stage.client.transport.peer_id, "payer")
        ask = stage.client.ask()
        end, job = await stage.begin(ask)
        assert payer not in protected
        await job.say(job.chunk(2, final=True))
        await end.hear(Chunk)
        await job.charge(job.receipt())
        await end.hear(Settled)

        await end.say(stage.client.ask())
        await end.hear(Quoted)

        assert payer in protected


# ---------------------------------------------------------------- garbage


@pytest.mark.parametrize("message", [Load(1, 1, 0), Heartbeat(b"x" * 16, 0), Hello(b"x" * 16, b"hello")])
async def test_what_makes_no_sense_between_exchanges_ends_the_stream(
    message: object, autojump_clock: MockClock
) -> None:
    async with scene() as stage:
        end = await stage.client.open()

        await end.say(message)

        with pytest.raises(Unavailable):
            await end.hear(object)


async def test_a_newcomer_cannot_make_us_hold_a_whole_frame(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        stream = await stage.client.transport.open_stream(PROXY.peer_id, EXCHANGE)

        await stream.write((FRAME_SIZE_MAX_NEWCOMER_BYTES + 1).to_bytes(4, "big"))

        with pytest.raises(Unavailable):
            await stream.read(1)


async def test_a_client_with_a_quote_may_send_whole_requests(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask()
        large = Part(ask.exchange, bytes(16), 0, 0, True, b"s" * 190_000)

        await end.say(large)

        job = await stage.worker.take()
        assert await job.hear(Part) == large


# ---------------------------------------------------------------- the choice


async def test_the_cheaper_of_two_workers_is_quoted(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        cheap = replace(OFFER, price=Price(1_000, 100, 5_000, 5_000))
        second = await stage.add_worker(OTHER)
        await stage.worker.register()
        await second.register(cheap)

        end = await stage.client.open()
        await end.say(stage.client.ask())
        dear = stage.client.ask(exclude=(OTHER.peer_id,))
        quote = read(await end.hear(Quoted))
        await end.say(Cancel(quote.exchange, Reason.CANCELLED))
        await end.hear(Refused)
        await end.say(dear)

        assert quote.price == cheap.price
        assert read(await end.hear(Quoted)).price == OFFER.price


async def test_a_draining_proxy_ends_what_runs_and_takes_nothing_new(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        drained = trio.Event()

        async def drain() -> None:
            await stage.proxy.drain()
            drained.set()

        stage.nursery.start_soon(drain)
        await stage.settled()
        assert (await refused(stage, stage.client.ask())).reason is Reason.DRAINING
        assert not drained.is_set()

        await job.say(job.chunk(2, final=True))
        await end.hear(Chunk)
        await job.charge(job.receipt())
        await end.hear(Settled)
        await drained.wait()
