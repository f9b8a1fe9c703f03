"""`cocoon earnings --statement`: spans, CSV that a spreadsheet may open, JSON."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.cli import cocoon
from cocoon_p2p.cli.statement import FOR_EVER, span_of, spell_csv
from cocoon_p2p.ledger import Account, Delivery, Line
from cocoon_p2p.node import LEDGER
from cocoon_p2p.overview import StatementLine
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.store import open_store
from cocoon_p2p.units import Nano
from tests.cli.test_money import DAY, NAME, NOVEMBER, ROW

HEADER = (
    "day,kind,model,peer,exchanges,prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,"
    "income_nano,expense_nano,commission_nano,fees_nano"
)
ONE = ExchangeId(b"1" * 16)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cocoon, list(map(str, arguments)))


async def write(folder: Path, model: str = "m") -> None:
    async with open_store(folder / LEDGER) as store:
        line = Line(NAME, 0, Account.INCOME, Account.OWED, Nano(702), ONE, NOVEMBER)
        before = Line(NAME, 1, Account.INCOME, Account.OWED, Nano(1), None, NOVEMBER - 1)
        delivery = Delivery(NAME, ONE, model, 10, 0, 5, 0, Nano(0), NOVEMBER)
        await store.submit(ROW, line, before, delivery).wait()


# ---------------------------------------------------------------- spans


@pytest.mark.parametrize(
    ("month", "first", "last", "span"),
    [
        (None, None, None, (0, FOR_EVER)),
        ("2026-11", None, None, (NOVEMBER, NOVEMBER + 30 * DAY)),
        ("2026-12", None, None, (NOVEMBER + 30 * DAY, NOVEMBER + 61 * DAY)),
        ("2028-02", None, None, (1_832_976_000, 1_832_976_000 + 29 * DAY)),
        (None, "2026-11-01", "2026-11-01", (NOVEMBER, NOVEMBER + DAY)),
        (None, "2026-11-01", None, (NOVEMBER, FOR_EVER)),
        (None, None, "2026-10-31", (0, NOVEMBER)),
        ("9999-12", None, None, (253_399_622_400, FOR_EVER)),
    ],
)
def test_a_span_is_whole_days_both_ends_within(
    month: str | None, first: str | None, last: str | None, span: tuple[int, int]
) -> None:
    assert span_of(month, first, last) == span


@pytest.mark.parametrize(
    ("month", "first", "last", "words"),
    [
        ("2026-13", None, None, "is not a month"),
        ("2026-11-01", None, None, "is not a month"),
        ("1969-12", None, None, "is not a month"),
        ("2026-11", "2026-11-01", None, "leave out --from and --to"),
        (None, "2026-02-30", None, "is not a day"),
        (None, "20261101", None, "is not a day"),
        (None, "2026-11-02", "2026-11-01", "before the first"),
    ],
)
def test_what_is_no_span_is_said(month: str | None, first: str | None, last: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        span_of(month, first, last)


# ---------------------------------------------------------------- CSV


def a_line(model: str) -> StatementLine:
    return StatementLine(day="2026-11-01", kind="sold", model=model, peer="12D3", income_nano=-3)


@pytest.mark.parametrize(
    ("model", "cell"),
    [
        *(
            ("m", "m"),
            ("a-b", "a-b"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
        ),
        *(
            (" =1", "' =1"),
            ("\t=1", "'\t=1"),
            ("\ufffd=1", "\ufffd=1"),
            ("\uff1d1", "'\uff1d1"),
            ("'=1", "'=1"),
        ),
        *(
            ("m;=1+1", "m;'=1+1"),
            ("m; \n-1", "m;' \n'-1"),
            ("m;n", "m;n"),
        ),
        ("\r\x1b[2J", "\ufffd\ufffd[2J"),
    ],
)
def test_a_model_s_name_is_no_formula_and_steers_no_terminal(model: str, cell: str) -> None:
    (_, row) = csv.reader(io.StringIO(spell_csv([a_line(model)]), newline=""))

    assert row[2] == cell
    assert row[9] == "-3", "figures are figures, below zero too"


@pytest.mark.slow
@settings(max_examples=50)
@given(st.lists(st.text(max_size=12), max_size=4))
def test_whatever_models_are_called_each_line_is_one_record_of_thirteen_cells(models: list[str]) -> None:
    text = spell_csv([a_line(model) for model in models])

    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert text.startswith(HEADER + "\r\n")
    assert len(read) == 1 + len(models)
    assert {len(record) for record in read} == {13}
    assert not any(record[2].lstrip().startswith(("=", "+", "-", "@")) for record in read)


# ---------------------------------------------------------------- the command


async def test_a_month_s_statement_is_csv_with_crlf_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    await write(tmp_path, '=cmd|"/C calc"!A0,')

    shown = run("earnings", "--statement", "--month", "2026-11", "--csv", "--data", tmp_path)

    assert shown.exit_code == 0
    head, line, end = shown.stdout_bytes.decode().split("\r\n")
    assert (head, end) == (HEADER, "")
    assert line.startswith('2026-11-01,sold,"\'=cmd|""/C calc""!A0,",12D3Koo')
    assert line.endswith(",1,10,0,5,0,702,0,0,0")


async def test_as_json_it_has_the_lines_and_their_sums(tmp_path: Path) -> None:
    await write(tmp_path)

    told = json.loads(run("earnings", "--statement", "--json", "--data", tmp_path).stdout)

    assert told["source"] == "ledger"
    assert [line["model"] for line in told["statement"]["lines"]] == ["", "m"]
    assert told["statement"]["total"] == {
        "income_nano": 703,
        "expense_nano": 0,
        "fees_nano": 0,
        "difference_nano": 703,
    }


async def test_people_read_it_as_a_table_in_ton(tmp_path: Path) -> None:
    await write(tmp_path)

    shown = run("earnings", "--statement", "--from", "2026-11-01", "--data", tmp_path)

    assert "0.000000702" in shown.stdout
    assert "2026-10-31" not in shown.stdout
    assert "left, fees taken off: 0.000000702" in shown.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--csv",),
        ("--month", "2026-11"),
        ("--statement", "--csv", "--json"),
        ("--statement", "--since", "7d"),
        ("--statement", "--month", "November"),
        ("worker.toml",),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert run("earnings", *options, "--data", tmp_path).exit_code == 2
