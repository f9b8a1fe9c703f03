"""docs/troubleshooting.md has every code that an error can have, and every exit code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import cocoon_p2p
from cocoon_p2p import cli
from cocoon_p2p.cli import doctor
from cocoon_p2p.protocols.ids import Reason

PACKAGE = Path(cocoon_p2p.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "troubleshooting.md").read_text()
SECTIONS = dict(re.findall(r"^### ([a-z-]+)\n\n(.*?)\n(?=\n#|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def codes_in(source: str) -> Iterator[str]:
    """Find a module's codes: `code="..."`, a class's `code = "..."`, `code=NAME` with `NAME = "..."`."""
    tree = ast.parse(source)
    named = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="code", value=ast.Constant(value=str(code))):
                yield code
            case ast.keyword(arg="code", value=ast.Name(id=name)) if name in named:
                yield named[name]
            case ast.ClassDef(body=body):
                for each in body:
                    match each:
                        case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
                            yield code
                        case _:
                            pass
            case _:
                pass


TEXTS = (file.read_text() for file in PACKAGE.rglob("*.py"))
CODES = {code for text in TEXTS if re.search(r"\bcode ?=", text) for code in codes_in(text)}


def test_the_codes_of_the_source_are_found_by_all_the_ways_they_are_written() -> None:
    assert {"unavailable", "over-budget", "early", "proxy-unknown", "engine-failed"} <= CODES


def test_every_code_that_an_error_can_have_has_its_section_and_no_other_has() -> None:
    # These two are chosen between in an expression.
    chosen = {"no-model", "no-speech-model"}

    assert set(SECTIONS) == CODES | {reason.code for reason in Reason} | chosen


@pytest.mark.parametrize("code", sorted(SECTIONS))
def test_a_section_says_who_is_at_fault_and_what_to_do(code: str) -> None:
    meaning, _, rest = SECTIONS[code].partition("**At fault:**")

    assert meaning.strip()
    assert "**Do:**" in rest


def test_every_exit_code_is_in_its_table() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}

    assert told == {0, 1, 130} | {code for _, code in cli._EXIT_CODES} | set(doctor._EXIT_CODES.values())
