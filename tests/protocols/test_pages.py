"""The written protocol says what the code does, where the two can be compared."""

import re
from enum import IntEnum
from pathlib import Path

import pytest

from cocoon_p2p.protocols import ids
from cocoon_p2p.protocols.contents import FinishReason
from cocoon_p2p.protocols.ids import Kind, Outcome, Reason, Role, Trust
from cocoon_p2p.protocols.papers import SIGNED_AS
from cocoon_p2p.protocols.schema import KEY_IGNORED_FROM, UINT_MAX
from tests.protocols.shapes import CDDL, MESSAGES, rule_name

PAGES = {page.name: page.read_text() for page in CDDL.parent.glob("*.md")}
README = PAGES["README.md"]


def section(page: str, title: str) -> str:
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_kind_of_signature_is_listed_with_its_body() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| ([a-z-]+) \|", section(README, "Papers and signatures"), re.MULTILINE
    )

    assert dict(rows) == {what: rule_name(cls) for cls, what in SIGNED_AS.items()}


def test_every_reason_is_explained_once() -> None:
    rows = re.findall(r"^\| ([a-z ,]+) \|", section(README, "Reasons"), re.MULTILINE)
    named = [reason for row in rows[1:] for reason in row.split(", ")]

    assert sorted(named) == sorted(reason.code.replace("-", " ") for reason in Reason)


@pytest.mark.parametrize(
    "cls", [Role, Kind, Trust, Outcome, Reason, FinishReason], ids=lambda cls: cls.__name__
)
def test_a_closed_list_has_the_cddls_names_and_numbers(cls: type[IntEnum]) -> None:
    name = re.sub(r"(?<!^)([A-Z])", r"-\1", cls.__name__).lower()
    (members,) = re.findall(rf"^{name} = &\(([^)]*)\)", CDDL.read_text(), re.MULTILINE)
    listed = dict(member.strip().split(": ") for member in members.split(","))

    assert {code: int(number) for code, number in listed.items()} == {
        member.name.lower().replace("_", "-"): int(member) for member in cls
    }


def test_every_message_has_its_protocols_page() -> None:
    pages = {
        "exchange": range(1, 32),
        "channel": range(32, 48),
        "session": range(48, 64),
        "evidence": range(64, 80),
    }
    text = CDDL.read_text()

    for protocol, tags in pages.items():
        (group,) = re.findall(rf"^{protocol}-message = ([^;]*?)\n\n", text, re.MULTILINE)
        tagged = re.findall(r"^([a-z-]+) = \{\n  0: (\d+),", text, re.MULTILINE)
        assert set(re.split(r"[\s/]+", group.strip())) == {name for name, tag in tagged if int(tag) in tags}
    assert len(re.findall(r"^  0: \d+,", text, re.MULTILINE)) == len(MESSAGES)


@pytest.mark.parametrize("page", PAGES)
def test_a_number_that_is_named_has_the_value_that_is_said(page: str) -> None:
    for name, said in re.findall(r"`([A-Z_]{6,})` \(([\d,]+)\)", PAGES[page]):
        assert getattr(ids, name) == int(said.replace(",", "")), name


def test_the_numbers_in_words_are_those_of_the_code() -> None:
    for said in (
        f"{ids.FRAME_SIZE_MAX_BYTES:,}",
        f"{ids.FRAME_SIZE_MAX_NEWCOMER_BYTES:,}",
        f"{ids.PAPER_SIZE_MAX_BYTES:,}",
    ):
        assert said in README
    assert UINT_MAX == 2**63 - 1
    assert KEY_IGNORED_FROM == 64
    assert f"{ids.PART_PLAIN_MAX_BYTES:,}" in PAGES["sealing.md"]
    assert f"{ids.RECORD_BODY_MAX_BYTES:,}" in PAGES["records.md"]
    assert f"{ids.RECORD_SIZE_MAX_BYTES:,}" in PAGES["discovery.md"]


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_to_a_file_that_is_there(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGES[page]):
        assert Path(CDDL.parent, target).exists(), target
