"""What a node showed of itself last, in its data folder: for whoever asks when it does not run.

It holds what its owner's status page shows, and is for him alone; it has no secret in it.
"""

from contextlib import suppress
from pathlib import Path

import msgspec

from cocoon_p2p import private_files
from cocoon_p2p.config.folder import LAST_SHOWN
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.overview.snapshot import Snapshot


def write_last(folder: Path, snapshot: Snapshot) -> None:
    """Write down what a node shows.

    Raises:
        ConfigurationError: It cannot be written: the disk is full, say.
    """
    private_files.replace(folder / LAST_SHOWN, msgspec.json.encode(snapshot))


def read_last(folder: Path) -> Snapshot | None:
    """Read what a node showed last; None where there is nothing that can be read."""
    # It is a help and no more: a file of another version is as good as none.
    with suppress(FileNotFoundError, ConfigurationError, ValueError, RecursionError):
        return msgspec.json.decode(private_files.read(folder / LAST_SHOWN), type=Snapshot)
    return None
