"""Backing a node up: what belongs to it is gathered, and sealed into one file.

The node may run: its ledger is copied as it stands at one moment. Secrets that open others of its files (a
wallet's passphrase, an engine's API key) stay out: a backup beside them would be worth no more than itself.
"""

import os
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from cocoon_p2p.backup.manifest import VERSION, FileKept, Manifest, encode
from cocoon_p2p.backup.sealed import CHUNK_BYTES, MODERATE, Effort, SealingWriter
from cocoon_p2p.config import BootstrapFile, ClientFile, Loaded, ProxyFile
from cocoon_p2p.config.folder import IDENTITY_KEY, KEPT_PEERS, LEDGER
from cocoon_p2p.config.network_file import read_network_file
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.keyfile import load_or_create
from cocoon_p2p.store import is_server
from cocoon_p2p.store.snapshot import copy_ledger


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made."""

    file: Path
    manifest: Manifest
    left_out: tuple[str, ...]
    "What the node needs and the backup does not hold, each in a sentence."


@dataclass(slots=True)
class _Gathered:
    """What belongs to a node: where it lies now, by its name in the backup."""

    files: dict[str, Path] = field(default_factory=dict[str, Path])
    moved: dict[str, str] = field(default_factory=dict[str, str])
    left_out: list[str] = field(default_factory=list[str])
    ledger: str = ""
    "Its name, where there is one in a file."

    def add(self, name: str, path: Path) -> None:
        """Take a file. Two of one name would be one of them.

        Raises:
            ConfigurationError: Another file has the name already.
        """
        if self.is_taken(name, path):
            raise ConfigurationError(
                f"two of the node's files come to lie at {name}", hint="rename one of them"
            )
        self.files[name] = path

    def is_taken(self, name: str, path: Path) -> bool:
        """Whether another file has a name, or one below or above it."""
        nested = (f"{other}/".startswith(f"{name}/") or name.startswith(f"{other}/") for other in self.files)
        return self.files.get(name) != path and any(nested)


def make_backup(
    loaded: Loaded[Any], out: Path, passphrase: str, *, now: float, effort: Effort = MODERATE
) -> Backup:
    """Seal a node's key, wallet, ledger and file into a new file that only its owner can read.

    Args:
        loaded: The node's file, of whatever role.
        out: The backup. One that is there is left as it is.
        passphrase: What opens it.
        now: The time, in seconds since the Unix epoch.
        effort: What every guess at the passphrase costs.

    Raises:
        ConfigurationError: The node never ran, there is a file already, or none can be made.
        Unavailable: The ledger cannot be read, or a disk is full.
    """
    data = loaded.data_directory
    if not (data / IDENTITY_KEY).is_file():
        raise ConfigurationError(
            f"no node has run here (folder={data})", hint="a node makes its key when it first runs"
        )
    peer = peer_id_text(load_or_create(data / IDENTITY_KEY).peer_id)
    with tempfile.TemporaryDirectory(prefix="backup-", dir=data) as scratch, ExitStack() as stack:
        gathered = _gather(loaded, Path(scratch))
        # From here on what its node writes in a file's place, or removes, is not what is sealed.
        opened = {name: stack.enter_context(_open(path)) for name, path in gathered.files.items()}
        files = [FileKept(name, os.fstat(source.fileno()).st_size) for name, source in opened.items()]
        manifest = Manifest(
            VERSION,
            _role(loaded),
            peer,
            int(now),
            loaded.path.name,
            gathered.ledger,
            files,
            gathered.moved,
        )
        with _new_file(out) as file:
            sealing = SealingWriter(file, passphrase, effort)
            sealing.write(encode(manifest))
            for kept in files:
                _copy(opened[kept.name], kept, sealing)
            sealing.finish()
    return Backup(out, manifest, tuple(gathered.left_out))


def _role(loaded: Loaded[Any]) -> str:
    match loaded.settings:
        case BootstrapFile():
            return "bootstrap"
        case ProxyFile():
            return "proxy"
        case ClientFile():
            return "client"
        case _:
            return "worker"


# ---------------------------------------------------------------- what belongs to a node


def _gather(loaded: Loaded[Any], scratch: Path) -> _Gathered:
    found, settings, data = _Gathered(), loaded.settings, loaded.data_directory
    found.add(loaded.path.name, loaded.path)
    folder = _place(loaded, settings.data.directory, "[data] directory", found, otherwise="data")
    found.add(_below(folder, IDENTITY_KEY), data / IDENTITY_KEY)
    if (data / KEPT_PEERS).is_file():
        found.add(_below(folder, KEPT_PEERS), data / KEPT_PEERS)
    if is_server(settings.data.ledger):
        found.left_out.append("the ledger is on PostgreSQL: take it with pg_dump, at the same time")
    elif (data / LEDGER).is_file():
        copy_ledger(data / LEDGER, scratch / LEDGER)
        found.ledger = _below(folder, LEDGER)
        found.add(found.ledger, scratch / LEDGER)
    wallet = getattr(settings, "wallet", None)
    if wallet is not None and wallet.file:
        _gather_wallet(loaded, wallet, found)
    chain, trust = getattr(settings, "chain", None), getattr(settings, "trust", None)
    _gather_network(loaded, found)
    if chain is not None and loaded.resolve(chain.servers) not in found.files.values():
        _gather_named(loaded, chain.servers, "[chain] servers", found)
    if trust is not None and trust.policy:
        _gather_named(loaded, trust.policy, "[trust] policy", found)
    return found


def _gather_wallet(loaded: Loaded[Any], wallet: Any, found: _Gathered) -> None:
    path = loaded.resolve(wallet.file)
    name = _place(loaded, wallet.file, "[wallet] file", found)
    found.add(name, path)
    # A payment that is under way stands there. A link to the wallet is the same wallet.
    pending = path.with_name(path.name + ".pending")
    if pending.is_file():
        found.add(name + ".pending", pending)
    if wallet.passphrase_file:
        found.left_out.append("the wallet's passphrase: keep it elsewhere, and not with this backup's")


def _gather_network(loaded: Loaded[Any], found: _Gathered) -> None:
    """Take the network's own file, if the node's names one, and the servers' that lies beside it."""
    written = tomllib.loads(loaded.path.read_text(encoding="utf-8"))["network"].get("bootstrap")
    if not isinstance(written, str) or not written:
        return
    network = read_network_file(loaded.resolve(written))
    name = _place(loaded, written, "[network] bootstrap", found)
    found.add(name, network.path)
    if network.servers:
        beside = Path(network.servers).relative_to(network.path.parent).as_posix()
        found.add(_below(PurePosixPath(name).parent.as_posix(), beside), Path(network.servers))


def _gather_named(loaded: Loaded[Any], written: str, key: str, found: _Gathered) -> None:
    path = loaded.resolve(written)
    if path.is_file():
        found.add(_place(loaded, written, key, found), path)


def _place(loaded: Loaded[Any], written: str, key: str, found: _Gathered, *, otherwise: str = "") -> str:
    """Say where something goes: where it lay below the file's folder, or from elsewhere into that folder.

    Where the file alone would not lead there, its owner has to be told.
    """
    section, name = key.strip("[").split("] ")
    path = loaded.resolve(written)
    is_below = path.is_relative_to(loaded.path.parent)
    place = path.relative_to(loaded.path.parent).as_posix() if is_below else otherwise or path.name
    while found.is_taken(place, path):
        is_below, place = False, f"elsewhere/{place}"
    is_overridden = loaded.origins.get((section, name), "").startswith("COCOON_")
    if not is_below or is_overridden or Path(written).is_absolute():
        found.moved[key] = place
    return place


def _below(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


# ---------------------------------------------------------------- writing


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a new file for its owner alone; it is on disk when the block ends, and gone if that raises."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} is there already", hint="nothing was written over; name another file"
        ) from None
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path}: {exc.strerror}", hint="name another file") from exc
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
    except BaseException as exc:
        path.unlink()
        if isinstance(exc, OSError):
            raise Unavailable(f"cannot write {path}: {exc.strerror}", hint="free space on the disk") from exc
        raise


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as exc:
        raise Unavailable(
            f"cannot read {path}: {exc.strerror}", hint="make the backup again, as the node's user"
        ) from exc


def _copy(source: BinaryIO, kept: FileKept, sealing: SealingWriter) -> None:
    """Seal as many bytes of a file as were said to be there.

    Raises:
        Unavailable: It has become shorter meanwhile.
    """
    left = kept.size
    while left:
        data = source.read(min(left, CHUNK_BYTES))
        if not data:
            raise Unavailable(f"{kept.name} changed while it was read", hint="make the backup again")
        sealing.write(data)
        left -= len(data)
