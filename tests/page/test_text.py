"""What a peer says is shown as what can be read of it."""

import hashlib
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.web import Assets, open_templates, plain
from cocoon_p2p.web.templates import LETTERS_MAX, SHARED, ton


@given(st.text(st.characters()))
def test_nothing_unseen_is_left(text: str) -> None:
    shown = plain(text)

    assert len(shown) <= LETTERS_MAX + 1
    assert not any(unicodedata.category(each) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp") for each in shown)


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=LETTERS_MAX))
def test_plain_words_of_any_script_stay_as_they_are(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gpt\u202egpj.exe", "gpt\ufffdgpj.exe"),
        ("a\x1b[31mb", "a\ufffd[31mb"),
        ("two\nlines", "two lines"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 2),
        ("zero\u200bwidth", "zero\ufffdwidth"),
    ],
)
def test_what_fools_eyes_is_made_visible(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_every_value_of_a_template_is_escaped_and_plain_and_cut() -> None:
    templates = open_templates(SHARED, Assets())
    template = templates.from_string('<a title="{{ x }}">{{ x }}{{ x | short }}{{ [x, x] | join(", ") }}</a>')

    text = template.render(x='<b>"\u202e' + "y" * 1000)

    assert "<b>" not in text
    assert text.count('"') == 2
    assert "\u202e" not in text
    assert len(text) < 5 * LETTERS_MAX


def test_a_name_that_a_template_misspells_is_a_fault_and_not_nothing() -> None:
    templates = open_templates(SHARED, Assets())

    with pytest.raises(Exception, match="undefined"):
        templates.from_string("{{ nothing.there }}").render()


@pytest.mark.parametrize(("amount", "shown"), [(None, "-"), (0, "0 TON"), (1, "0.000000001 TON")])
def test_what_nobody_knows_is_not_shown_as_nothing(amount: int | None, shown: str) -> None:
    assert ton(amount) == shown


def test_vendored_files_are_those_that_the_list_names() -> None:
    folder = SHARED.parent / "assets"
    listed = re.findall(r"\| `(uPlot\.[^`]+)` \|.*\| `([0-9a-f]{64})` \|", (folder / "README.md").read_text())

    there = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.glob("uPlot.*")}

    assert dict(listed) == there
    assert len(there) == 3
