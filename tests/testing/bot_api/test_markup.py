"""Marked-up texts: what is shown, what is refused, and in which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.testing.bot_api.answers import Rejected
from cocoon_p2p.testing.bot_api.entities import Entity, Marked, as_kept, utf16_length
from cocoon_p2p.testing.bot_api.html import parse_html
from cocoon_p2p.testing.bot_api.markdown import parse_markdown
from cocoon_p2p.testing.bot_api.markup import read_markup


@pytest.mark.parametrize(
    ("html", "text", "entities"),
    [
        ("plain &lt;b&gt; &amp; &quot;&#33;&#x1F600;", 'plain <b> & "!😀', []),
        ("&nbsp;&copy", "&nbsp;&copy", []),
        ("<b>a</b><strong>b</strong>", "ab", [("bold", 0, 1), ("bold", 1, 1)]),
        ("😀<i>x</i>", "😀x", [("italic", 2, 1)]),
        ("<B>a<I>b</I></B>", "ab", [("bold", 0, 2), ("italic", 1, 1)]),
        ("<u>a</u><ins>b</ins>", "ab", [("underline", 0, 1), ("underline", 1, 1)]),
        ("<s>a</s><del>b</del>", "ab", [("strikethrough", 0, 1), ("strikethrough", 1, 1)]),
        ("<tg-spoiler>a</tg-spoiler>", "a", [("spoiler", 0, 1)]),
        ('<span class="tg-spoiler">a</span>', "a", [("spoiler", 0, 1)]),
        ("<blockquote expandable>a</blockquote>", "a", [("expandable_blockquote", 0, 1)]),
        ("<b></b>x", "x", []),
        ("<b>x</>", "x", [("bold", 0, 1)]),
    ],
)
def test_tags_are_shown_as_what_they_mean(html: str, text: str, entities: list[tuple[str, int, int]]) -> None:
    marked = parse_html(html)

    assert marked.text == text
    assert [(entity.type, entity.offset, entity.length) for entity in marked.entities] == entities


def test_code_in_a_block_names_its_language_and_code_alone_does_too() -> None:
    block = parse_html('<pre><code class="language-python">x</code></pre>')
    other = parse_html('<code class="language-c"><pre>x</pre></code>')

    assert block.entities == (Entity("pre", 0, 1, language="python"),)
    assert other.entities == (Entity("pre", 0, 1, language="c"),)


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("https://example.org/a?b=1&amp;c=2", "https://example.org/a?b=1&c=2"),
        ("example.org", "http://example.org/"),
        ("tg://user?id=7", "tg://user?id=7"),
        ("javascript:alert(1)", None),
        ("nowhere", None),
    ],
)
def test_a_link_that_is_none_is_shown_as_text(href: str, url: str | None) -> None:
    marked = parse_html(f'<a href="{href}">here</a>')

    assert marked.text == "here"
    assert [entity.url for entity in marked.entities] == ([] if url is None else [url])


@pytest.mark.parametrize(
    ("html", "complaint"),
    [
        ("a<br>", 'Unsupported start tag "br" at byte offset 1'),
        ("é<br/>", 'Unsupported start tag "br/" at byte offset 2'),
        ("1 < 2", 'Unsupported start tag "" at byte offset 2'),
        ("a<b", "Unclosed start tag at byte offset 1"),
        ("<b>a", 'Can\'t find end tag corresponding to start tag "b"'),
        ("a</b>", "Unexpected end tag at byte offset 1"),
        ("<b>a</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("<b>a</b", "Unclosed end tag at byte offset 4"),
        ('<a "x">a</a>', 'Empty attribute name in the tag "a" at byte offset 0'),
        ('<a href="x', "Unclosed start tag at byte offset 0"),
        ("<a href", 'Unclosed start tag "a" at byte offset 0'),
        ("<a href=a/b>x</a>", "Unexpected end of name token at byte offset 8"),
        ("<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
        ('<tg-emoji emoji-id="x">x</tg-emoji>', "Invalid custom emoji identifier specified"),
    ],
)
def test_broken_html_is_refused_in_the_servers_words(html: str, complaint: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_html(html)

    assert refused.value.description == f"Bad Request: can't parse entities: {complaint}"
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("markdown", "text", "entities"),
    [
        ("*a* _b_ __c__ ~d~ ||e||", "a b c d e", "bold italic underline strikethrough spoiler"),
        (r"1\. a\!", "1. a!", ""),
        ("`a*b`", "a*b", "code"),
        ("```python\nx = 1\n```", "x = 1\n", "pre"),
        ("*a _b_*", "a b", "bold italic"),
        ("[a](https://example.org/)", "a", "text_link"),
        ("[a](nowhere)", "a", ""),
        (">a\n>b\nc", "a\nb\nc", "blockquote"),
        (">a\n>b||\nc", "a\nb\nc", "expandable_blockquote"),
        (">a||", "a", "expandable_blockquote"),
        ("![😀](tg://emoji?id=5)", "😀", "custom_emoji"),
        ("___a_ b__", "a b", "underline italic"),
        ("**", "", ""),
    ],
)
def test_markdown_is_shown_as_what_it_means(markdown: str, text: str, entities: str) -> None:
    marked = parse_markdown(markdown)

    assert marked.text == text
    assert [entity.type for entity in marked.entities] == entities.split()


def test_the_language_of_a_block_is_kept() -> None:
    assert parse_markdown("```python\nx```").entities == (Entity("pre", 0, 1, language="python"),)
    assert parse_markdown("```x```").entities == (Entity("pre", 0, 1),)


@pytest.mark.parametrize(
    ("markdown", "complaint"),
    [
        ("a.", "Character '.' is reserved and must be escaped with the preceding '\\'"),
        ("a-b", "Character '-' is reserved and must be escaped with the preceding '\\'"),
        ("a!", "Character '!' is reserved and must be escaped with the preceding '\\'"),
        ("a>b", "Character '>' is reserved and must be escaped with the preceding '\\'"),
        ("a|b", "Character '|' is reserved and must be escaped with the preceding '\\'"),
        ("é*a", "Can't find end of Bold entity at byte offset 2"),
        ("_a", "Can't find end of Italic entity at byte offset 0"),
        ("```c\nx", "Can't find end of PreCode entity at byte offset 0"),
        ("[a](https://x.y", "Can't find end of a URL at byte offset 4"),
        ("![a]", "The entity must contain a tg://emoji or tg://time URL"),
        (">*a\nb*", "Can't find end of Bold entity at byte offset 1"),
    ],
)
def test_broken_markdown_is_refused_in_the_servers_words(markdown: str, complaint: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_markdown(markdown)

    assert refused.value.description == f"Bad Request: can't parse entities: {complaint}"


@given(st.text())
def test_escaped_text_is_shown_as_it_was(text: str) -> None:
    escaped = "".join(f"\\{one}" if one in "_*[]()~`>#+-=|{}.!\\" else one for one in text)
    ampersands = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    assert parse_markdown(escaped) == Marked(text)
    assert parse_html(ampersands) == Marked(text)


@given(st.text("ab😀 \n<>/=&\"'*_~|`[]()!\\.-", max_size=40), st.sampled_from(["HTML", "MarkdownV2"]))
def test_any_text_is_refused_or_has_its_entities_within_it(text: str, mode: str) -> None:
    try:
        marked = read_markup(text, mode, None)
    except Rejected:
        return

    size = utf16_length(marked.text)
    for entity in marked.entities:
        assert 0 <= entity.offset < entity.offset + entity.length <= size
        # No span begins or ends within a character.
        marked.spans(entity.type)


@pytest.mark.parametrize(
    ("entity", "complaint"),
    [
        (
            {"type": "bold", "offset": 4, "length": 1},
            "entity begins after the end of the text at UTF-16 offset 4",
        ),
        (
            {"type": "bold", "offset": 1, "length": 9},
            "entity beginning at UTF-16 offset 1 ends after the end of the text at UTF-16 offset 10",
        ),
        (
            {"type": "bold", "offset": 2, "length": 1},
            "entity begins in a middle of a UTF-16 symbol at byte offset 5",
        ),
        (
            {"type": "bold", "offset": 0, "length": 2},
            "entity beginning at UTF-16 offset 0 ends in a middle of a UTF-16 symbol at byte offset 5",
        ),
        ({"type": "bold", "offset": -1, "length": 2}, "receive an entity with incorrect offset -1"),
    ],
)
def test_entities_that_do_not_fit_the_text_are_refused(entity: dict[str, object], complaint: str) -> None:
    with pytest.raises(Rejected) as refused:
        read_markup("a😀b", "", [entity])

    assert refused.value.description == f"Bad Request: {complaint}"


def test_a_text_is_kept_without_its_outer_blanks_and_control_characters() -> None:
    marked = Marked(" \n a\tb\rc\u2028d \n", (Entity("bold", 3, 6),))

    assert as_kept(marked) == Marked("a bcd", (Entity("bold", 0, 4),))


def test_blanks_that_are_marked_up_stay_in_front_and_go_behind() -> None:
    assert as_kept(Marked(" a  ", (Entity("bold", 0, 4),))) == Marked(" a", (Entity("bold", 0, 2),))


@given(st.text(), st.integers(0, 8), st.integers(1, 8))
def test_what_is_kept_is_kept_as_it_is_when_it_comes_again(text: str, offset: int, length: int) -> None:
    size = utf16_length(text)
    inside = (Entity("bold", offset, length),) if offset + length <= size and text.isascii() else ()
    once = as_kept(Marked(text, inside))

    assert as_kept(once) == once
