"""docs/simulation.md says what the results say, and shows what they show."""

from pathlib import Path

import pytest

from cocoon_p2p.testing.market.findings import fill, tables
from cocoon_p2p.testing.market.plots import plots
from cocoon_p2p.testing.market.results import Book, read_results, write_results
from cocoon_p2p.testing.market.study import Size, Trial, trials, try_out
from tests.testing.market.small import SPAN

DOCUMENT = Path(__file__).parents[3] / "docs" / "simulation.md"
FOLDER = DOCUMENT.with_suffix("")


@pytest.fixture(scope="module")
def book() -> Book:
    return read_results(FOLDER / "results.json")


def test_the_results_are_those_of_the_study(book: Book) -> None:
    assert list(book) == list(trials())


def test_every_table_of_the_document_is_what_the_results_say(book: Book) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")

    assert fill(text, tables(book)) == text


def test_every_plot_is_what_the_results_show_and_is_in_the_document(book: Book) -> None:
    drawn = plots(book)

    assert {path.name for path in FOLDER.glob("*.svg")} == set(drawn)
    for name, drawing in drawn.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == drawing
        assert f"](simulation/{name})" in DOCUMENT.read_text(encoding="utf-8")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    result = try_out(Trial("load", "ours", 0.5, Size(4, 40, 50)), SPAN)

    write_results([result], tmp_path / "results.json")
    book = read_results(tmp_path / "results.json")

    assert list(book) == [result.trial]
    assert book[result.trial].utilisation == round(result.outcome.utilisation, 4)


@pytest.mark.parametrize("text", ["no place", "<!-- a -->\n<!-- end a -->" * 2])
def test_a_table_without_a_place_of_its_own_is_not_lost_silently(text: str) -> None:
    with pytest.raises(ValueError, match="name=a"):
        fill(text, {"a": "table"})


def test_a_table_takes_the_place_of_the_one_before() -> None:
    filled = fill("x\n<!-- a -->\nold\n<!-- end a -->\ny\n", {"a": "new"})

    assert filled == "x\n<!-- a -->\nnew\n<!-- end a -->\ny\n"
