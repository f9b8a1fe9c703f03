"""The machine's clock: papers have dates, and whoever's clock is wrong is believed by nobody.

What the chain says of it is judged where the chain is asked (`money.judge_chain`); here it is what the
kernel knows, and what the papers of others show.

Spec: adjtimex(2).
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from cocoon_p2p.diagnosis.finding import Finding, Severity
from cocoon_p2p.diagnosis.patient import Patient

_UNSYNCHRONISED = 0x40
_SET_IT = "timedatectl set-ntp true"

OFF_SECONDS = 10.0
"Who is further off than this is told: papers are taken up to some 30 s, and clocks drift."


class _Timex(ctypes.Structure):
    """`struct timex`, as far as it is read here; the kernel writes beyond that."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


@dataclass(frozen=True, slots=True)
class KernelClock:
    """What the kernel says of its clock."""

    is_synchronised: bool
    error_seconds: float
    "The most that it may be off, by its own word."


def kernel_clock() -> KernelClock | None:
    """Ask the kernel whether something keeps its clock right; None where it does not say."""
    timex = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        return None
    return KernelClock(not timex.status & _UNSYNCHRONISED, timex.maxerror / 1e6)


async def check_clock(
    _patient: Patient, *, look: Callable[[], KernelClock | None] = kernel_clock
) -> Sequence[Finding]:
    """Say whether something keeps the machine's clock right."""
    await trio.lowlevel.checkpoint()
    # A C library without the call is as good as a kernel that does not say.
    try:
        return [judge_clock(look())]
    except (AttributeError, OSError):
        return [judge_clock(None)]


def judge_clock(clock: KernelClock | None) -> Finding:
    """Judge what the kernel says of its clock."""
    if clock is None:
        return Finding("clock", Severity.FINE, "nothing says whether the clock is kept right")
    if not clock.is_synchronised:
        # In a container or a virtual machine the host may do it: only a clock that is off is a fault.
        text = "nothing keeps this machine's clock right, as far as its kernel knows"
        return Finding("clock", Severity.FINE, text, f"{_SET_IT}, unless its host does")
    return Finding("clock", Severity.FINE, f"kept right, within {clock.error_seconds:.1f} s")


def judge_dates(papers: Sequence[tuple[float, float]], now: float) -> Sequence[Finding]:
    """Judge our clock by papers that others hand out as good.

    Args:
        papers: When each was signed and when it ends, by its signer's clock, in seconds since the Unix epoch.
        now: By ours.
    """
    # One of them may have set its own clock wrong, or lie; half of them did not.
    behind = median([issued - now for issued, _ in papers], default=0.0)
    ahead = median([now - expires for _, expires in papers], default=0.0)
    if max(behind, ahead) <= OFF_SECONDS:
        return []
    way = "behind" if behind > ahead else "ahead of"
    text = f"this machine's clock is {max(behind, ahead):,.0f} s {way} those of others, or more"
    return [Finding("clock", Severity.FAILURE, text, _SET_IT)]


def median(numbers: Sequence[float], *, default: float) -> float:
    """Give the lower middle one of some numbers."""
    return sorted(numbers)[(len(numbers) - 1) // 2] if numbers else default
