"""Each finding leads into the docs, and what it leads to is there."""

import re
from pathlib import Path

import cocoon_p2p.diagnosis
import cocoon_p2p.node
from cocoon_p2p.diagnosis import Finding, Severity, finding_of
from cocoon_p2p.diagnosis.checkup import CHECKS

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r'Finding(?:View)?\(\s*"([a-z]+)"')


def named() -> set[str]:
    """Give every check's name that stands in the code, and those that a failed check goes by."""
    rooms = (Path(str(room.__file__)).parent for room in (cocoon_p2p.diagnosis, cocoon_p2p.node))
    texts = (file.read_text(encoding="utf-8") for room in rooms for file in room.glob("*.py"))
    doctor = (ROOT / "cocoon_p2p" / "cli" / "doctor.py").read_text(encoding="utf-8")
    return {name for text in (*texts, doctor) for name in NAMED.findall(text)} | set(CHECKS)


def test_every_finding_has_its_place_in_the_docs() -> None:
    headings: dict[Path, set[str]] = {}
    for name in named():
        page, _, anchor = Finding(name, Severity.FINE, "").page.partition("#")
        file = ROOT / page
        if file not in headings:
            headings[file] = set(re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE))
        assert anchor in headings[file], f"{page}#{anchor}"


def test_the_docs_explain_no_check_that_there_is_not() -> None:
    text = (ROOT / "docs" / "status.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) == named()


def test_a_finding_that_was_kept_is_what_it_was() -> None:
    for severity in Severity:
        finding = Finding("disk", severity, "full", "make room")

        assert finding_of(finding.view) == finding
