from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.payments.pricing import (
    ahead,
    amount_max_for_worker,
    client_amount,
    completion_affordable,
    owed_usage,
    worker_amount,
)
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import Price, Usage
from cocoon_p2p.units import Nano

counts = st.integers(0, 200_000)
usages = st.builds(Usage, counts, counts, counts, counts)
prices = st.builds(Price, *[st.integers(0, 10**7)] * 4)
amounts = st.integers(0, 10**13).map(Nano)
commissions = st.integers(0, 10_000)


def test_each_class_of_tokens_has_its_own_price() -> None:
    assert worker_amount(Usage(1000, 2000, 3000, 4000), Price(1, 20, 300, 4000)) == 1 + 40 + 900 + 16_000


def test_an_amount_is_rounded_down_once_over_all_classes() -> None:
    # 0.5 + 0.25 + 0.25 nanoTON: each alone would be rounded to nothing.
    assert worker_amount(Usage(1, 1, 1, 0), Price(500, 250, 250, 0)) == 1
    assert worker_amount(Usage(1, 1, 1, 0), Price(500, 250, 249, 0)) == 0


def test_a_commission_is_rounded_down() -> None:
    assert client_amount(Nano(999), 1_000) == 1098


@given(usages, prices, st.integers(0, 1000))
def test_an_amount_never_falls_as_tokens_come(usage: Usage, price: Price, more: int) -> None:
    assert worker_amount(ahead(usage, more), price) >= worker_amount(usage, price)


@given(amounts, commissions)
def test_a_worker_at_its_limit_never_costs_the_client_more_than_its_own(
    max_cost: Nano, commission: int
) -> None:
    limit = amount_max_for_worker(max_cost, commission)

    assert client_amount(limit, commission) <= max_cost
    # ... and the limit is not lower than it must be.
    assert (limit + 1) * (10_000 + commission) > max_cost * 10_000


@given(usages, prices, amounts)
def test_exactly_the_affordable_tokens_fit(usage: Usage, price: Price, amount_max: Nano) -> None:
    affordable = completion_affordable(usage, price, amount_max)

    if affordable is None:
        assert price.completion == price.reasoning == 0
        assert worker_amount(ahead(usage, 10**9), price) <= amount_max
    elif worker_amount(usage, price) > amount_max:
        assert affordable == 0
    else:
        as_reasoning = Usage(usage.prompt, usage.cached, usage.completion, usage.reasoning + affordable)
        assert worker_amount(ahead(usage, affordable), price) <= amount_max
        assert worker_amount(as_reasoning, price) <= amount_max
        one_more = Usage(
            usage.prompt,
            usage.cached,
            usage.completion + (affordable + 1 if price.completion >= price.reasoning else 0),
            usage.reasoning + (affordable + 1 if price.completion < price.reasoning else 0),
        )
        assert worker_amount(one_more, price) > amount_max


def test_who_fails_is_not_paid_for_the_prompt() -> None:
    usage = Usage(10, 20, 30, 40)

    assert owed_usage(usage, Outcome.FAILED) == Usage(0, 0, 30, 40)
    assert owed_usage(usage, Outcome.CANCELLED) == usage
    assert owed_usage(usage, Outcome.COMPLETED) == usage
