"""Restoring a node from a backup: all of it into an empty folder, or nothing.

The ledger that comes back is an old one: what was promised since then is not in it. Cumulative vouchers make
that harmless for who pays. The payee shows the newest, and no lower one is ever signed again; what no voucher
shows is taken from its count, once, within its grant (`payments.restored`). For who is paid it is harmless as
long as the payer still has what it signed; what was only on the lost disk is lost.

Spec: payments/settlement.md (Agreeing on what was charged), docs/running.md (Backup).
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import trio

from cocoon_p2p import private_files
from cocoon_p2p.backup.manifest import LENGTH, SIZE_MAX_BYTES, FileKept, Manifest, decode
from cocoon_p2p.backup.sealed import CHUNK_BYTES, OpeningReader
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.payments.restored import marks_for
from cocoon_p2p.store import open_store


@dataclass(frozen=True, slots=True)
class Restored:
    """A node that stands in its folder again."""

    folder: Path
    config: Path
    "The node's own file: it runs from this."

    manifest: Manifest


def restore(backup: Path, folder: Path, passphrase: str) -> Restored:
    """Put a node into a folder that is empty, or not there yet.

    It appears there whole, at the end: whatever stops this leaves nothing in `folder`.

    Raises:
        ConfigurationError: It is no backup, the passphrase is wrong, it was altered, its ledger is of another
            version, or something stands in the folder.
        Unavailable: A disk is full or damaged.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(
            f"{folder} is not empty", hint="nothing is written over; name a folder that is not there yet"
        )
    # `.` and a link have a place too; what is mounted cannot be put in the place of something.
    place = folder.resolve()
    if place.is_mount():
        raise ConfigurationError(f"{folder} is a disk of its own", hint="name a folder below it")
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except OSError as exc:
        raise ConfigurationError(f"cannot write beside {folder}: {exc.strerror}") from exc
    try:
        manifest = _unpack(backup, scratch, passphrase)
        if manifest.ledger:
            trio.run(_mark, scratch / manifest.ledger)
        scratch.rename(place)
        private_files.flush_folder(place.parent)
    except OSError as exc:
        raise Unavailable(
            f"cannot restore into {folder}: {exc.strerror}", hint="free space on the disk"
        ) from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Restored(folder, folder / manifest.config, manifest)


def _unpack(backup: Path, scratch: Path, passphrase: str) -> Manifest:
    try:
        source = backup.open("rb")
    except OSError as exc:
        raise ConfigurationError(f"cannot read {backup}: {exc.strerror}") from exc
    with source:
        reader = OpeningReader(source, passphrase)
        (length,) = LENGTH.unpack(reader.read(LENGTH.size))
        if length > SIZE_MAX_BYTES:
            raise ConfigurationError("the backup says too much of itself")
        manifest = decode(reader.read(length))
        for kept in manifest.files:
            _write(scratch / kept.name, kept, reader)
        reader.finish()
    return manifest


def _write(path: Path, kept: FileKept, reader: OpeningReader) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    left = kept.size
    with os.fdopen(descriptor, "wb") as file:
        while left:
            data = reader.read(min(left, CHUNK_BYTES))
            file.write(data)
            left -= len(data)
        file.flush()
        os.fsync(descriptor)
    private_files.flush_folder(path.parent)


async def _mark(ledger: Path) -> None:
    """Have the ledger know that it is an old one."""
    async with open_store(ledger) as store:
        await store.submit(*marks_for(await store.channels())).wait()
