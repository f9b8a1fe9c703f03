"""All checks of a node, side by side, each with a limit: one that hangs is a finding too.

Nothing is changed by looking: no money moves, nothing is published, no key is made.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

import trio

from cocoon_p2p.diagnosis.finding import Finding, Severity
from cocoon_p2p.diagnosis.machine import check_disk, check_files
from cocoon_p2p.diagnosis.money import check_chain, check_channels, check_wallet
from cocoon_p2p.diagnosis.network import check_network
from cocoon_p2p.diagnosis.patient import Patient
from cocoon_p2p.diagnosis.serving import check_engine, check_policy
from cocoon_p2p.errors import CocoonError

Check = Callable[[Patient], Awaitable[Sequence[Finding]]]

CHECKS: dict[str, Check] = {
    "files": check_files,
    "disk": check_disk,
    "network": check_network,
    "chain": check_chain,
    "wallet": check_wallet,
    "channels": check_channels,
    "policy": check_policy,
    "engine": check_engine,
}

LIMIT_SECONDS = 18.0
"Of each check."


async def check_up(
    patient: Patient, *, limit_seconds: float = LIMIT_SECONDS, checks: dict[str, Check] | None = None
) -> AsyncIterator[Finding]:
    """Look at a node in every respect, and tell each finding as it comes."""
    send, receive = trio.open_memory_channel[Finding](0)
    async with trio.open_nursery() as nursery, receive:
        async with send:
            for name, check in (CHECKS if checks is None else checks).items():
                nursery.start_soon(partial(_look, name, check, patient, limit_seconds, send.clone()))
        async for finding in receive:
            yield finding


async def _look(
    name: str,
    check: Check,
    patient: Patient,
    limit_seconds: float,
    send: "trio.MemorySendChannel[Finding]",
) -> None:
    found: Sequence[Finding] = ()
    with trio.move_on_after(limit_seconds) as limit:
        try:
            found = await check(patient)
        except CocoonError as exc:
            found = [Finding(name, Severity.FAILURE, str(exc), exc.hint or "")]
    if limit.cancelled_caught:
        text = f"no answer in {limit_seconds:.0f} s"
        found = [Finding(name, Severity.FAILURE, text, "try again; if it stays so, look at the node's log")]
    async with send:
        for finding in found:
            await send.send(finding)
