"""What a backup says of itself, in front of the files that it holds."""

import struct
from pathlib import PurePosixPath

import msgspec

from cocoon_p2p.errors import ConfigurationError

VERSION = 1

SIZE_MAX_BYTES = 64 * 1024
"Some files' names, and a few words."

FILES_MAX = 32
"A node has seven or so."

NAME_MAX_CHARACTERS = 255

LENGTH = struct.Struct(">I")
"Stands before the manifest: its length in bytes."


class FileKept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file; its bytes follow the manifest, in this order."""

    name: str
    "Its place below the folder that is restored, with slashes."

    size: int
    "In bytes."


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was backed up, when, and what it takes to go on from it."""

    version: int
    role: str
    peer: str
    "The node's peer id."

    at: int
    "Of which moment its ledger is, in seconds since the Unix epoch."

    config: str
    "Which of the files is the node's own TOML file."

    ledger: str
    "Which is its ledger; empty where it has none in a file."

    files: list[FileKept]
    moved: dict[str, str] = {}
    "Keys of the TOML file that named places elsewhere, and where what was there lies now."


def encode(manifest: Manifest) -> bytes:
    """Spell a manifest, with its length before it."""
    data = msgspec.json.encode(manifest)
    return LENGTH.pack(len(data)) + data


def decode(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ConfigurationError: It is none, another version's, or would have files written elsewhere.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ConfigurationError("the backup does not say what it holds") from None
    names = [each.name for each in manifest.files]
    if manifest.version != VERSION:
        raise ConfigurationError(
            f"the backup is of another version (version={manifest.version} known={VERSION})",
            hint="restore it with the version of cocoon that wrote it, or a newer one",
        )
    is_whole = manifest.config in names and manifest.ledger in ("", *names)
    if not is_whole or len(names) > FILES_MAX or len(set(names)) < len(names):
        raise ConfigurationError("the backup names its files twice, or not at all")
    if not all(map(_stays_below, names)) or any(each.size < 0 for each in manifest.files):
        raise ConfigurationError("the backup would write files elsewhere")
    return manifest


def _stays_below(name: str) -> bool:
    path = PurePosixPath(name)
    is_plain = bool(path.parts) and str(path) == name and "\0" not in name
    return is_plain and len(name) <= NAME_MAX_CHARACTERS and not path.is_absolute() and ".." not in path.parts
