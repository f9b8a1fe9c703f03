"""What a check found, and what to do about it."""

from dataclasses import dataclass
from enum import IntEnum


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
        page: Where the docs say more, relative to the project's root; empty: nowhere.
    """

    check: str
    severity: Severity
    text: str
    remedy: str = ""
    page: str = ""
