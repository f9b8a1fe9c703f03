"""The machine that a node runs on: its files, its disk."""

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

import trio

from cocoon_p2p.diagnosis.finding import Finding, Severity
from cocoon_p2p.diagnosis.patient import Patient
from cocoon_p2p.node.parts import IDENTITY_KEY

FREE_MIN_BYTES = 100 * 10**6
"Below it a ledger cannot be relied on to grow: a node that cannot write takes no money."

FREE_ENOUGH_BYTES = 10**9


async def check_files(patient: Patient) -> Sequence[Finding]:
    """Say whether the data folder is its owner's alone, and can be written."""
    return [await trio.to_thread.run_sync(_files, patient.data)]


def _files(folder: Path) -> Finding:
    if not folder.exists():
        text = f"{folder} is not there yet"
        return Finding("files", Severity.FINE, f"{text}: it is made when the node starts")
    for path in (folder, folder / IDENTITY_KEY):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
            mode = "700" if path is folder else "600"
            return Finding(
                "files", Severity.FAILURE, f"others on this machine can open {path}", f"chmod {mode} {path}"
            )
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            "files", Severity.FAILURE, f"{folder} cannot be written", "run as its owner, or mount it writable"
        )
    return Finding("files", Severity.FINE, f"{folder} is its owner's alone")


async def check_disk(patient: Patient) -> Sequence[Finding]:
    """Say whether the ledger has room to grow."""
    place = next(path for path in (patient.data, *patient.data.parents) if path.exists())
    free = (await trio.to_thread.run_sync(shutil.disk_usage, place)).free
    return [judge_room(free)]


def judge_room(free_bytes: int) -> Finding:
    """Judge what is left of a disk."""
    text = f"{free_bytes / 1e9:,.1f} GB are free"
    if free_bytes < FREE_MIN_BYTES:
        severity = Severity.FAILURE
    else:
        severity = Severity.WARNING if free_bytes < FREE_ENOUGH_BYTES else Severity.FINE
    remedy = "make room, or move the data folder: [data] directory" if severity else ""
    return Finding("disk", severity, text, remedy)
