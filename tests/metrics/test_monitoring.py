"""The dashboard, the alerts and the page about them name metrics that exist, with labels that they have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cocoon_p2p.metrics import DEFINITIONS, PROCESS_METRICS
from cocoon_p2p.metrics.catalogue import table
from cocoon_p2p.overview.peers import Role

HERE = Path(__file__).parents[2]
PAGE = HERE / "docs/monitoring.md"
ALERTS = HERE / "deploy/monitoring/cocoon-alerts.yml"
DASHBOARD = HERE / "deploy/monitoring/cocoon-dashboard.json"

LABELS = {each.name: set(each.labels) for each in DEFINITIONS}
LABELS |= {f"{each.name}_bucket": {*each.labels, "le"} for each in DEFINITIONS if each.kind == "histogram"}
LABELS |= {name: set() for name in PROCESS_METRICS} | {"up": set()}
OF_THE_SCRAPE = {"instance", "job"}

NAME = re.compile(r"\b(?:cocoon_[a-z_]+|process_[a-z_]+|up(?=\{))")
SELECTED = re.compile(r"(?P<name>[a-z_]+)\{(?P<matchers>[^}]*)\}")


def check_expression(expression: str) -> None:
    """Look at every metric and label matcher in an expression."""
    names = NAME.findall(re.sub(r'"[^"]*"', '""', expression))
    assert names, expression
    for name in names:
        assert name in LABELS, f"{name} does not exist: {expression}"
    for selected in SELECTED.finditer(expression):
        for label in re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', "", selected["matchers"])):
            assert label in LABELS[selected["name"]] | OF_THE_SCRAPE, f"{label}: {expression}"
    for text in re.findall(r'state=~?"([a-z|_]+)"', expression):
        assert set(text.split("|")) <= STATES, expression
    assert expression.count("(") == expression.count(")")


STATES = {
    *("free", "taken", "in_step", "behind", "away", "unknown", "public", "private"),
    *("reached", "missed", "unasked", "registered", "tried", "standing", "resting"),
}


def alerts() -> dict[str, dict[str, str]]:
    """Read the rules: our own file's plain YAML, a rule after another, folded expressions put together."""
    found: dict[str, dict[str, str]] = {}
    rules = re.split(r"^      - alert: ", ALERTS.read_text(), flags=re.MULTILINE)[1:]
    for rule in rules:
        name, _, rest = rule.partition("\n")
        expression = re.search(r"^        expr: (.*(?:\n {10}.*)*)", rest, flags=re.MULTILINE)
        runbook = re.search(r"runbook: (.*)$", rest, flags=re.MULTILINE)
        assert expression is not None
        assert runbook is not None
        folded = " ".join(expression[1].removeprefix(">-").split())
        found[name] = {"expression": folded, "runbook": runbook[1]}
    return found


def panels() -> Iterator[dict[str, Any]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


def test_each_alert_asks_for_metrics_that_exist() -> None:
    found = alerts()
    assert len(found) >= 15
    for each in found.values():
        check_expression(each["expression"])


def test_each_alert_says_where_it_is_told_what_to_do() -> None:
    headings = {
        heading.lower() for heading in re.findall(r"^### (\w+)$", PAGE.read_text(), flags=re.MULTILINE)
    }
    for name, each in alerts().items():
        assert each["runbook"] == f"docs/monitoring.md#{name.lower()}"
        assert name.lower() in headings
    assert headings == {name.lower() for name in alerts()}


@pytest.mark.parametrize("role", ["worker", "proxy", "bootstrap"])
def test_an_operator_of_each_role_has_alerts_and_panels_of_their_own(role: Role) -> None:
    own = {each.name for each in DEFINITIONS if role in each.roles and len(each.roles) < 4}
    if role == "bootstrap":
        own = {"cocoon_directory_records", "cocoon_directory_announcements"}
    asked = " ".join(each["expression"] for each in alerts().values())
    drawn = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    assert own & set(NAME.findall(asked))
    assert own & set(NAME.findall(drawn))


def test_each_panel_draws_metrics_that_exist_in_a_place_of_its_own() -> None:
    places: set[tuple[int, int]] = set()
    for panel in panels():
        for target in panel["targets"]:
            check_expression(target["expr"])
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) - OF_THE_SCRAPE
            assert any(labels <= LABELS[name] for name in NAME.findall(target["expr"])), panel["title"]
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        assert (grid["x"], grid["y"]) not in places
        places.add((grid["x"], grid["y"]))


def test_every_metric_of_ours_is_drawn_or_alerted_on_or_said_to_be_for_other_uses() -> None:
    drawn = {
        name for panel in panels() for target in panel["targets"] for name in NAME.findall(target["expr"])
    }
    asked = {name for each in alerts().values() for name in NAME.findall(each["expression"])}
    unused = {each.name for each in DEFINITIONS} - {name.removesuffix("_bucket") for name in drawn | asked}
    assert unused == {
        "cocoon_check_age_seconds",
        "cocoon_draining",
        "cocoon_wallet_age_seconds",
        "cocoon_chain_age_seconds",
    }


def test_what_a_proxy_without_clients_spends_on_its_own_questions_is_no_loss() -> None:
    expression = alerts()["CocoonLosesMoney"]["expression"]

    spent = "- sum by (instance) (increase(cocoon_canaries_spent_nanoton_total[1d])) > "
    assert spent in expression.partition("cocoon_expense_nanoton_total")[2]


def test_nobody_who_asks_for_what_cannot_be_has_a_seller_alarmed() -> None:
    (left_out,) = re.findall(r'outcome!~"([^"]*)"', alerts()["CocoonExchangesBreak"]["expression"])

    assert {"finished", "cancelled", "too-large", "malformed", "unknown-feature"} == set(left_out.split("|"))


def test_the_table_is_what_is_exposed() -> None:
    begin, end = "<!-- metrics -->\n", "\n<!-- end metrics -->"
    text = PAGE.read_text()

    assert text.partition(begin)[2].partition(end)[0] == table()
