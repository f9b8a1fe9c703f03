"""Workers, Asks and one look at them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st

from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.protocols.ids import Kind, Preference, Trust
from cocoon_p2p.protocols.messages import Ask, ExchangeId, ModelOffer, Price, Rates
from cocoon_p2p.scheduling import Choice, Decision, Odds, Pace, Roster, WorkerStanding, choose, explain

NOW, DATE = 50.0, 1_000_000.0
PRICE = Price(prompt=1_000, cached=100, completion=10_000, reasoning=10_000)
OFFER = ModelOffer("m", b"w" * 32, b"t" * 32, Kind.CHAT, 4096, ("seed", "stop"), PRICE, demo=True)
PEERS = tuple(Identity.from_seed(bytes([number]) * 32).peer_id for number in range(1, 9))
ASK = Ask(
    exchange=ExchangeId(b"e" * 16),
    model="m",
    kind=Kind.CHAT,
    prompt_tokens_max=20,
    completion_tokens_max=100,
    max_cost=1_000,
    deadline_ms=60_000,
    trust=Trust.OPEN,
    prefer=(),
    exclude=(),
    features=(),
)


def worker(number: int = 0, *, offer: ModelOffer = OFFER, **changes: Any) -> WorkerStanding:
    standing = WorkerStanding(
        peer=PEERS[number],
        offers=(replace(OFFER, name="another"), offer),
        trust=Trust.OPEN,
        slots_free=2,
        slots_total=2,
        is_draining=False,
        heard=NOW,
        expires=int(DATE) + 600,
    )
    return replace(standing, **changes)


def priced(completion: int, prompt: int = 1_000) -> ModelOffer:
    return replace(OFFER, price=replace(PRICE, completion=completion, prompt=prompt))


def paced(prefill: float, decode: float, full: float | None = None) -> ModelOffer:
    """Offer with these rates, in tokens a second."""
    milli = None if full is None else int(full * 1000)
    return replace(OFFER, rates=Rates(int(prefill * 1000), int(decode * 1000), milli))


def roster_of(*workers: WorkerStanding) -> Roster:
    roster = Roster()
    for each in workers:
        roster.put(each, NOW)
    return roster


def pick(
    *workers: WorkerStanding,
    ask: Ask = ASK,
    commission: int = 0,
    luck: int = 0,
    cached: Mapping[PeerId, float] | None = None,
) -> Choice:
    return choose(
        ask,
        roster_of(*workers),
        commission_basis_points=commission,
        now=NOW,
        date=DATE,
        luck=luck,
        cached=cached or {},
    )


def explained(
    *workers: WorkerStanding,
    ask: Ask = ASK,
    commission: int = 0,
    luck: int = 0,
    cached: Mapping[PeerId, float] | None = None,
) -> Decision:
    return explain(
        ask,
        roster_of(*workers),
        commission_basis_points=commission,
        now=NOW,
        date=DATE,
        luck=luck,
        cached=cached,
    )


def chosen(*workers: WorkerStanding, ask: Ask = ASK, luck: int = 0) -> PeerId:
    choice = pick(*workers, ask=ask, luck=luck)
    assert choice.worker is not None
    return choice.worker.peer


rates = st.none() | st.builds(Rates, st.integers(1, 2**40), st.none() | st.integers(1, 2**40), st.none())
paces = st.builds(
    lambda tokens, seconds: {"m": Pace().prefilled(tokens, seconds, NOW).decoded(tokens, seconds, NOW - 60)},
    st.integers(1, 10_000),
    st.floats(0, 100),
)
standings = st.builds(
    worker,
    st.integers(0, len(PEERS) - 1),
    offer=st.builds(
        lambda offer, rates, context: replace(offer, rates=rates, context_tokens=context),
        st.builds(priced, st.integers(0, 50_000), st.integers(0, 50_000)),
        rates,
        st.sampled_from([2, 4096]),
    ),
    trust=st.sampled_from(Trust),
    trust_until=st.sampled_from([DATE - 1, DATE + 60]),
    slots_free=st.integers(-1, 3),
    slots_total=st.integers(0, 4),
    is_draining=st.booleans(),
    heard=st.sampled_from([NOW, NOW - 10]),
    rests_until=st.sampled_from([0.0, NOW + 5]),
    answer_seconds=st.none() | st.floats(0, 5),
    paces=st.just({}) | paces,
    odds=st.builds(Odds, st.floats(0, 9), st.floats(0, 9), st.just(NOW)),
)
crowds = st.lists(standings, max_size=8, unique_by=lambda each: each.peer)
asks = st.builds(
    lambda **changes: replace(ASK, **changes),
    model=st.sampled_from(["m", "another", "\u00e9" * 48]),
    prompt_tokens_max=st.sampled_from([1, 20, 900]),
    completion_tokens_max=st.sampled_from([0, 1, 100, 2**63 - 1]),
    max_cost=st.integers(0, 2_000),
    trust=st.sampled_from(Trust),
    prefer=st.lists(st.sampled_from(PEERS), max_size=3).map(tuple),
    exclude=st.lists(st.sampled_from(PEERS), max_size=2).map(tuple),
    features=st.lists(st.sampled_from(["seed", "x" * 32]), max_size=32).map(tuple),
    preference=st.none() | st.sampled_from(Preference),
)
lucks = st.integers(0, 2**64 - 1)
caches = st.dictionaries(st.sampled_from(PEERS), st.floats(0, 1), max_size=3)
