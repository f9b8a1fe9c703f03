"""The machine that a node runs on: its files, its disk, the version that is installed."""

import os
import stat
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import trio

from cocoon_p2p.config.folder import IDENTITY_KEY, LEDGER
from cocoon_p2p.diagnosis.finding import Finding, Severity
from cocoon_p2p.diagnosis.patient import Patient
from cocoon_p2p.store.reading import read_ledger

FREE_MIN_BYTES = 100 * 10**6
"Below it a ledger cannot be relied on to grow: a node that cannot write takes no money."

FREE_ENOUGH_BYTES = 10**9


async def check_files(patient: Patient) -> Sequence[Finding]:
    """Say whether the data folder is its owner's alone, and can be written."""
    return [await trio.to_thread.run_sync(_files, patient.data, abandon_on_cancel=True)]


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
    # A network's file system may never answer.
    left = await trio.to_thread.run_sync(_room, patient.data, abandon_on_cancel=True)
    # Some file systems have no fixed number of files.
    return [judge_room(left.f_bavail * left.f_frsize, left.f_favail if left.f_files else None)]


def _room(folder: Path) -> os.statvfs_result:
    return os.statvfs(next(path for path in (folder, *folder.parents) if path.exists()))


def judge_room(free_bytes: int, free_files: int | None = None) -> Finding:
    """Judge what is left of a disk; `free_files` None: as many as fit."""
    text = f"{free_bytes / 1e9:,.1f} GB are free"
    if free_files == 0:
        text, remedy = f"{text}, but not one more file", "remove files that nobody needs, however small"
        return Finding("disk", Severity.FAILURE, text, remedy)
    if free_bytes < FREE_MIN_BYTES:
        severity = Severity.FAILURE
    else:
        severity = Severity.WARNING if free_bytes < FREE_ENOUGH_BYTES else Severity.FINE
    remedy = "make room, or move the data folder: [data] directory" if severity else ""
    return Finding("disk", severity, text, remedy)


async def check_versions(patient: Patient) -> Sequence[Finding]:
    """Say whether what runs is what is installed, and whether that can read the node's ledger."""
    await trio.lowlevel.checkpoint()
    installed = version("cocoon-p2p")
    if patient.snapshot is not None:
        return [judge_version(patient.snapshot.version, installed)]
    ledger = patient.data / LEDGER
    if ledger.exists():
        with read_ledger(ledger):
            pass
    return [Finding("versions", Severity.FINE, f"version {installed} is installed")]


def judge_version(running: str, installed: str) -> Finding:
    """Judge what runs by what is installed."""
    if running != installed:
        text = f"version {running} runs, and {installed} is installed"
        return Finding(
            "versions", Severity.WARNING, text, "restart the node: what runs there is finished first"
        )
    return Finding("versions", Severity.FINE, f"version {running} runs")
