"""What a model writes becomes a text with styles that Telegram can take, whatever it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.telegram.markdown import read_markdown
from cocoon_p2p.telegram.styled import CODES, Style, Styled, sendable, utf16_units

MARKS = st.text(st.sampled_from("ab *_`~#>|-[]()\\!\n1.\t\u00e9\U0001f600\x00\ud800"), max_size=200)


def parts(text: Styled) -> list[tuple[str, str]]:
    """Give the styled parts of a text, each with its style."""
    return [(str(span.style), text.text[span.start : span.end]) for span in text.spans]


@pytest.mark.parametrize(
    ("written", "shown", "styles"),
    [
        ("a **b** *c* ~~d~~", "a b c d", [("bold", "b"), ("italic", "c"), ("strikethrough", "d")]),
        ("***both***", "both", [("italic", "both"), ("bold", "both")]),
        ("__b__ and _i_", "b and i", [("bold", "b"), ("italic", "i")]),
        ("**a *b* c**", "a b c", [("bold", "a b c"), ("italic", "b")]),
        ("snake_case_name and 2*3*4", "snake_case_name and 2*3*4", []),
        ("**never closed", "**never closed", []),
        ("a * b * c", "a * b * c", []),
        ("*a **b* c**", "a **b c**", [("italic", "a **b")]),
        ("a **** b", "a **** b", []),
        ("`x*y*` and ``a`b``", "x*y* and a`b", [("code", "x*y*"), ("code", "a`b")]),
        ("**use `x` now**", "use x now", [("bold", "use "), ("code", "x"), ("bold", " now")]),
        ("a ` b", "a ` b", []),
        (r"\*not\*", "*not*", []),
        ("# Title **x** #", "Title x", [("bold", "Title x")]),
        ("- a\n  * b\n+ c", "\u2022 a\n  \u2022 b\n\u2022 c", []),
        ("1. one\n2. two", "1. one\n2. two", []),
        ("---", "\u2014\u2014\u2014", []),
        ("> a\n> *b*\nc", "a\nb\nc", [("blockquote", "a\nb"), ("italic", "b")]),
        ("```py\nx = *1*\n```\nso", "x = *1*\nso", [("pre", "x = *1*")]),
        ("~~~\n```\n~~~", "```", [("pre", "```")]),
        ("- see\n  ```\n  x\n    y\n  ```", "\u2022 see\nx\n  y", [("pre", "x\n  y")]),
        ("|a|b|\n|-|-|\n|1|*2*|\nc", "|a|b|\n|-|-|\n|1|*2*|\nc", [("pre", "|a|b|\n|-|-|\n|1|*2*|")]),
    ],
)
def test_markdown_is_shown_as_styles(written: str, shown: str, styles: list[tuple[str, str]]) -> None:
    read = read_markdown(written)

    assert read.text == shown
    assert sorted(parts(read)) == sorted(styles)


def test_a_block_that_is_not_closed_yet_is_a_block_already() -> None:
    (span,) = read_markdown("```python title\nx = 1\ny = **2").spans

    assert (span.style, span.language, span.start, span.end) == (Style.PRE, "python", 0, 13)


@pytest.mark.parametrize("name", ["a\"'><b>", "\u00fcber", "x" * 33 + "*"])
def test_a_block_s_language_holds_nothing_but_a_name(name: str) -> None:
    (span,) = read_markdown(f"```{name}\nx\n```").spans

    assert len(span.language) <= 32
    assert not set(span.language) - set("abcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[my bank](https://evil.example/a_b_c)", "my bank (https://evil.example/a_b_c)"),
        ("[https://bank.example](https://evil.example)", "https://bank.example (https://evil.example)"),
        ("[https://a.example](https://a.example)", "https://a.example"),
        ('![cat](http://a.example/c.png "a cat")', "cat (http://a.example/c.png)"),
        ("[](tg://resolve?domain=x)", "tg://resolve?domain=x"),
    ],
)
def test_a_link_shows_where_it_goes(written: str, shown: str) -> None:
    assert read_markdown(written) == Styled(shown)


@given(MARKS)
def test_whatever_is_written_becomes_styles_that_telegram_takes(text: str) -> None:
    read = read_markdown(text)

    for span in read.spans:
        assert 0 <= span.start < span.end <= len(read.text)
    for number, one in enumerate(read.spans):
        for other in read.spans[number + 1 :]:
            if one.start < other.end and other.start < one.end:
                assert (one.start <= other.start and other.end <= one.end) or (
                    other.start <= one.start and one.end <= other.end
                )
                assert one.style != other.style
                assert Style.QUOTE in (one.style, other.style) or not {one.style, other.style} & set(CODES)


@given(MARKS)
def test_what_is_shown_is_not_longer_than_what_was_written(text: str) -> None:
    assert utf16_units(read_markdown(text).text) <= utf16_units(sendable(text))


@given(st.text(st.characters(), max_size=100))
def test_what_is_shown_can_be_sent(text: str) -> None:
    shown = read_markdown(text).text

    shown.encode()
    assert not [character for character in shown if ord(character) < 32 and character not in "\t\n"]


@given(st.text("abc .,\n", max_size=100))
def test_a_text_without_marks_is_shown_as_it_is(text: str) -> None:
    assert read_markdown(text) == Styled(text)


@pytest.mark.parametrize(
    "piece", ["*", "_", "`", "[", "![", "*a_ ", "**a ", "` `` ", "~~", "> ", "\\", "|\n|-\n", "[a](", "```\n"]
)
def test_what_is_made_to_be_slow_to_read_is_read(piece: str) -> None:
    # In time that grows with the square of its length this would take minutes.
    for end in ("", "`"):
        assert read_markdown(piece * (100_000 // len(piece)) + end) is not None
