"""What a check found, and what to do about it."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from cocoon_p2p.overview.snapshot import FindingView

PAGE = "docs/status.md"
"Each check has its own heading there, and the heading's anchor is the check's name."

_WORDS: tuple[Literal["fine", "warning", "failure"], ...] = ("fine", "warning", "failure")


class Severity(IntEnum):
    """How bad it is."""

    FINE = 0
    WARNING = 1
    "It works, or would: but not for long, or worse than it could."

    FAILURE = 2
    "The node does not do what it is there for."


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        check: Its name, one word.
        severity: How bad it is.
        text: What was seen.
        remedy: What to do; empty where all is fine.
    """

    check: str
    severity: Severity
    text: str
    remedy: str = ""

    @property
    def page(self) -> str:
        """Where the docs say more, relative to the project's root."""
        return f"{PAGE}#{self.check}"

    @property
    def view(self) -> FindingView:
        """The same as it is kept and shown."""
        return FindingView(self.check, _WORDS[self.severity], self.text, self.remedy, self.page)


def finding_of(view: FindingView) -> Finding:
    """Take a finding as it was kept."""
    return Finding(view.check, Severity(_WORDS.index(view.severity)), view.text, view.remedy)
