"""A journey that is not what its page shows is found out, and what is allowed to differ may."""

from pathlib import Path

import pytest

from tests.docs.pages import Command, Edit, Sighting, pattern, steps_of
from tests.docs.terminals import Unlike
from tests.docs.walking import walk, write


def page(text: str, title: str = "") -> str:
    name = f' title="{title}"' if title else ""
    return f"```console{name}\n{text}\n```\n"


def test_a_page_is_commands_with_what_they_print_and_files() -> None:
    text = (
        page("$ one\nprinted\n$ two \\\n> more") + '```toml title="a.toml"\nkey = 1\n```\n```\nnothing\n```\n'
    )

    assert steps_of(text) == [
        Command("", "one", ("printed",), is_last=False),
        Command("", "two \\\nmore", (), is_last=True),
        Edit("a.toml", "key = 1\n"),
    ]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("listening  /ip4/127.0.0.1/tcp/…/p2p/12D3…", "listening /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW"),
        ("   2.21 s  chain", "13.0 s chain"),
        ("fees 0.024 TON on 2026-11-21", "fees 1_000.5 TON on 2027-01-02"),
        ("…\nlast", "first\nsecond\nlast"),
        ("first\n…", "first"),
        ("to …  in", "to 0QAB in"),
        ("money …", "money in, and out"),
    ],
)
def test_what_differs_each_time_may(shown: str, printed: str) -> None:
    assert pattern(tuple(shown.splitlines()), is_whole=True).expression.match(printed + "\n")


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("2 workers", "3 workers"),
        ("12D3…", "13D3KooW"),
        ("one", "one\ntwo"),
        ("one\ntwo", "one"),
        ("version 1.2.3", "version 1.2.4"),
        ("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.2/tcp/1"),
        ("a … c", "a b b c"),
        ("a …", "a"),
        ("…\nlast", "last\nbut not least"),
    ],
)
def test_what_is_shown_and_what_is_printed_else_agree(shown: str, printed: str) -> None:
    assert not pattern(tuple(shown.splitlines()), is_whole=True).expression.match(printed + "\n")


def test_what_runs_on_may_print_in_another_order_but_nothing_else() -> None:
    shown = ("a  1.5 s", "peer 12D…")

    sighting = Sighting(shown)

    assert not sighting.look("peer 12DX\n")
    assert not sighting.look("peer 12DX\na 2.0")
    assert sighting.look("peer 12DX\na 2.0 s\nlater\n")
    assert sighting.known == {"12D…": "12DX"}
    assert sighting.others == []
    sighting.look("peer 12DX\nelse\na 2.0 s\n")
    assert sighting.others == ["else\n"]
    with_more = Sighting((*shown, "…"))
    assert with_more.look("peer 12DX\nelse\na 2.0 s\n")
    assert with_more.others == []


@pytest.mark.slow
def test_a_page_is_walked_in_shells_that_stay(tmp_path: Path) -> None:
    walk(
        page("$ mkdir there && cd there\n$ name=A\n$ echo $name-B9\nA-…")
        + '```toml title="of.toml"\nkey = "A-…"\n```\n'
        + page("$ cat of.toml\n$ false\n$ echo $?\n1".replace("of.toml\n", 'of.toml\nkey = "A-B9"\n'))
        + page("$ echo up; sleep 60\nup", "second")
        + page("$ echo up; sleep 60\nup", "third")
        + page("^C\n$ pwd\n…/there", "third"),
        tmp_path,
    )


@pytest.mark.slow
def test_a_page_reads_the_same_where_make_walks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A make within a make says which folder it enters.
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.setenv("MAKEFLAGS", "w")
    (tmp_path / "Makefile").write_text("setup:\n\t@echo set up\n")

    walk(page("$ make setup\nset up"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$ echo one\ntwo", "it printed"),
        ("$ echo one", "it printed"),
        ("$ false", "ended with 1"),
        ("$ echo A-…", "has not shown"),
    ],
)
def test_a_page_that_shows_something_else_is_found_out(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Unlike, match=said):
        walk(page(text), tmp_path)


def test_an_edit_replaces_keys_where_they_stand_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[one]\nkey = ""  # what it is\n\n[two]\n# key = 2\n')

    write(file, '[two]\nkey = 3\n[one]\nkey = "a"\nnew = 1\n')

    assert file.read_text() == '[one]\nnew = 1\nkey = "a"\n\n[two]\nkey = 3\n'
    with pytest.raises(Unlike, match=r"no \[three\]"):
        write(file, "[three]\nother = 1\n")
