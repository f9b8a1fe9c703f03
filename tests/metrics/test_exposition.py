"""What Prometheus is told: names, labels and values as they are, whatever peers call their models."""

import itertools
import re

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from cocoon_p2p.journal import FIRST_TOKEN_BOUNDS, KINDS_MAX, Journal
from cocoon_p2p.metrics import DEFINITIONS, PROCESS_METRICS, render
from cocoon_p2p.metrics.definition import LABEL_MAX_LETTERS
from cocoon_p2p.metrics.work import PRICES_MAX
from cocoon_p2p.overview.peers import Role
from cocoon_p2p.overview.snapshot import MoneyView, OfferView, Snapshot
from tests.metrics.sights import ROLES, entry, journal, snapshot

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
Labels = tuple[tuple[str, str], ...]


def scrape(seen: Snapshot | None = None, noted: Journal | None = None) -> dict[tuple[str, Labels], float]:
    """Read what was rendered as Prometheus does. Nothing may be there twice."""
    text = render(seen or snapshot(), noted or journal()).body.decode()
    found: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(found: dict[tuple[str, Labels], float], name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


def names(found: dict[tuple[str, Labels], float]) -> set[str]:
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name, _ in found}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_exposes_what_the_table_says_and_nothing_else(role: Role) -> None:
    ours = {each.name for each in DEFINITIONS if role in each.roles}

    assert names(scrape(snapshot(role))) == ours | set(PROCESS_METRICS)


def test_what_a_journal_noted_is_what_is_counted() -> None:
    noted = journal(entry(), entry(), entry(outcome="lost", first=None), entry("n", "engine-failed", 99.0))
    noted.give_up(7)

    found = scrape(noted=noted)

    assert value(found, "cocoon_exchanges_total", model="m", outcome="finished") == 2
    assert value(found, "cocoon_exchanges_total", model="m", outcome="lost") == 1
    assert value(found, "cocoon_exchange_seconds_total", model="n", outcome="engine-failed") == 1.5
    assert value(found, "cocoon_tokens_total", model="m", kind="prompt") == 30
    assert value(found, "cocoon_tokens_total", model="m", kind="completion") == 60
    assert value(found, "cocoon_income_nanoton_total", model="m") == 315
    assert value(found, "cocoon_expense_nanoton_total", model="n") == 100
    assert value(found, "cocoon_income_given_up_nanoton_total") == 7
    buckets = {
        dict(labels)["le"]: count
        for (name, labels), count in found.items()
        if name == "cocoon_first_token_seconds_bucket" and ("model", "m") in labels
    }
    assert list(map(float, buckets)) == [*FIRST_TOKEN_BOUNDS, float("inf")]
    assert (buckets["0.25"], buckets["0.5"], buckets["+Inf"]) == (0, 2, 2)
    assert value(found, "cocoon_first_token_seconds_sum", model="m") == pytest.approx(0.6)
    assert value(found, "cocoon_first_token_seconds_count", model="n") == 1


def test_what_the_snapshot_says_is_what_is_shown() -> None:
    found = scrape()

    assert value(found, "cocoon_build_info", version="1.2.3", role="proxy", network="local") == 1
    assert value(found, "cocoon_ready") == 1
    assert value(found, "cocoon_slots", state="free") == 5
    assert value(found, "cocoon_slots", state="taken") == 3
    assert value(found, "cocoon_channel_capacity_nanoton", side="payee") == 150
    assert value(found, "cocoon_channel_charged_nanoton", side="payee") == 90
    assert value(found, "cocoon_channels_closing") == 1
    assert value(found, "cocoon_chain_state", state="in_step") == 1
    assert value(found, "cocoon_chain_state", state="away") == 0
    assert value(found, "cocoon_peers_connected", direction="inbound") == 2
    assert value(found, "cocoon_bootstraps", state="missed") == 1
    assert value(found, "cocoon_findings", severity="failure") == 1
    assert value(found, "cocoon_check_age_seconds") == 60
    assert value(found, "cocoon_workers", state="resting") == 1
    assert value(found, "cocoon_price_nanoton", model="m", kind="completion") == 3


def test_reasons_that_a_proxy_makes_up_are_one_series() -> None:
    found = scrape(snapshot("worker"))

    assert value(found, "cocoon_chances", result="chosen") == 4
    assert value(found, "cocoon_chances", result="others-cheaper") == 3
    assert value(found, "cocoon_chances", result="other") == 2
    assert value(found, "cocoon_proxies", state="registered") == 1


def test_what_is_not_known_has_no_series() -> None:
    found = scrape(msgspec.structs.replace(snapshot(), money=MoneyView()))

    absent = {"cocoon_wallet_nanoton", "cocoon_chain_state", "cocoon_chain_age_seconds"}
    assert not absent & names(found)
    assert value(found, "cocoon_uncollected_nanoton") == 0


@settings(max_examples=25)
@given(st.lists(st.text(max_size=120), min_size=1, max_size=6))
def test_whatever_models_are_called_each_exchange_is_counted_once_and_the_text_can_be_read(
    models: list[str],
) -> None:
    offers = tuple(OfferView(model, 1, 2, 3, 4) for model in models)

    found = scrape(snapshot(offers=offers), journal(*map(entry, models)))

    counted = {key: count for key, count in found.items() if key[0] == "cocoon_exchanges_total"}
    assert sum(counted.values()) == len(models)
    for _, labels in counted:
        assert len(dict(labels)["model"]) <= LABEL_MAX_LETTERS


@pytest.mark.parametrize("name", ['"} 1\ncocoon_ready 0', "a\\", "\n", "\ud800", "\x1b[2J", "\u2028", 'x"y'])
def test_a_hostile_name_breaks_out_of_no_label(name: str) -> None:
    found = scrape(noted=journal(entry(name)))

    assert value(found, "cocoon_ready") == 1
    assert sum(key[0] == "cocoon_exchanges_total" for key in found) == 1


def test_the_number_of_series_is_bounded_whatever_peers_offer() -> None:
    offers = tuple(OfferView(f"m{number}", 1, 2, 3, 4) for number in range(1_000))
    noted = journal(
        *(entry(f"m{number}", outcome) for number in range(1_000) for outcome in ("finished", "lost"))
    )

    found = scrape(snapshot(offers=offers), noted)

    assert sum(key[0] == "cocoon_price_nanoton" for key in found) == 4 * PRICES_MAX
    assert sum(key[0] == "cocoon_exchanges_total" for key in found) == 2 * (KINDS_MAX + 1)


def test_a_scraper_that_asks_for_openmetrics_gets_it() -> None:
    plain = render(snapshot(), journal())
    assert plain.content_type.startswith("text/plain")

    opened = render(snapshot(), journal(), accept=OPENMETRICS)

    assert opened.content_type.startswith("application/openmetrics-text")
    assert opened.body.endswith(b"# EOF\n")
    families = read_openmetrics(opened.body.decode())
    assert "cocoon_exchanges" in {family.name for family in families}


@settings(max_examples=25)
@given(st.text(max_size=300))
@example(f"{OPENMETRICS.partition(';')[0]}; version=x")
@example(f"{OPENMETRICS.partition(';')[0]}; version=1.x; escaping=")
@example("text/plain; version=\u00b2")
def test_no_accept_header_makes_a_scrape_fail(accept: str) -> None:
    assert render(snapshot("bootstrap"), Journal(), accept=accept).body


def test_a_name_says_its_unit_and_whether_it_only_grows() -> None:
    for each in DEFINITIONS:
        assert re.fullmatch(r"cocoon_[a-z]+(_[a-z]+)*", each.name)
        assert each.name.endswith("_total") is (each.kind == "counter")
        assert not each.meaning.endswith(".")
        assert all(re.fullmatch("[a-z]+", label) for label in each.labels)
    for one, other in itertools.combinations([each.name for each in DEFINITIONS], 2):
        assert one != other
