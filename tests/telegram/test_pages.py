"""Long texts become messages within Telegram's limit, cut where it hurts least."""

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.telegram.markdown import read_markdown
from cocoon_p2p.telegram.pages import split, stub
from cocoon_p2p.telegram.styled import Span, Style, Styled, is_blank, utf16_units

TEXTS = st.text(st.sampled_from("ab \n\n.\U0001f600\u0301\u200d"), max_size=300)


@st.composite
def styled_texts(draw: st.DrawFn) -> Styled:
    text = draw(TEXTS)
    places = st.integers(0, len(text))
    styles = st.sampled_from([Style.BOLD, Style.PRE, Style.CODE, Style.QUOTE])
    spans = draw(st.lists(st.builds(Span, styles, places, places), max_size=5))
    return Styled(text, tuple(span for span in spans if span.start < span.end))


@given(styled_texts(), st.integers(8, 60))
def test_each_page_is_within_the_limit_and_shows_something(text: Styled, units_max: int) -> None:
    for page in split(text, units_max=units_max):
        assert page.units <= units_max
        assert not is_blank(page.text)
        for span in page.spans:
            assert 0 <= span.start < span.end <= len(page.text)


@given(styled_texts(), st.integers(8, 60))
def test_nothing_that_can_be_seen_is_lost_between_pages(text: Styled, units_max: int) -> None:
    shown = "".join(page.text for page in split(text, units_max=units_max))

    assert _seen(shown) == _seen(text.text)


@given(TEXTS, st.integers(8, 60), st.data())
def test_while_a_text_grows_its_earlier_pages_stay_as_they_are(
    text: str, units_max: int, data: st.DataObject
) -> None:
    grown = split(Styled(text), units_max=units_max)

    before = split(Styled(text[: data.draw(st.integers(0, len(text)))]), units_max=units_max)

    assert grown[: max(0, len(before) - 1)] == before[:-1]


def test_a_page_ends_with_a_paragraph_else_a_line_else_a_word() -> None:
    words = "one two three four five"

    assert _texts("aaaaaaaa\n\nbbbbbb b", 12) == ["aaaaaaaa", "bbbbbb b"]
    assert _texts("aaaaaaaa\nbbbbbb b", 12) == ["aaaaaaaa", "bbbbbb b"]
    assert _texts(words, 12) == ["one two", "three four", "five"]
    assert _texts("a" * 20, 12) == ["a" * 12, "a" * 8]


def test_a_block_of_code_that_does_not_fit_begins_the_next_page() -> None:
    text = read_markdown("Here it is:\n```py\n" + "x = 1\n" * 5 + "```\nYes.")

    first, second = split(text, units_max=36)

    assert first == Styled("Here it is:")
    assert second.text.startswith("x = 1\n")
    assert (second.spans[0].style, second.spans[0].language) == (Style.PRE, "py")
    assert second.text[second.spans[0].end :] == "\nYes."


def test_a_block_that_no_page_holds_is_cut_between_lines_and_stays_code() -> None:
    pages = split(read_markdown("```py\n" + "x = 1\n" * 20 + "```"), units_max=40)

    assert len(pages) == 4
    for page in pages:
        assert set(page.text.split("\n")) == {"x = 1"}
        assert page.spans == (Span(Style.PRE, 0, len(page.text), "py"),)


def test_a_family_of_emoji_is_not_cut() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"

    assert _texts("aaaa" + family, 8) == ["aaaa", family]


@given(styled_texts())
def test_a_stub_is_never_empty_and_says_half_of_a_line_at_most(text: Styled) -> None:
    for page in split(text):
        said = stub(page)

        assert not said.spans
        assert said.text.endswith("\u2026")
        assert 2 * utf16_units(said.text.removesuffix("\u2026").strip()) <= utf16_units(
            page.text.split("\n")[0]
        )


def _texts(text: str, units_max: int) -> list[str]:
    return [page.text for page in split(Styled(text), units_max=units_max)]


def _seen(text: str) -> str:
    return "".join(character for character in text if not is_blank(character))
