"""A ledger file copied as it stands at one moment, while its node runs or not."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.store.reading import read_ledger


def copy_ledger(path: Path, to: Path) -> None:
    """Copy a ledger into a new file, for its owner alone. Its node is not held up, and writes on meanwhile.

    Raises:
        ConfigurationError: There is no ledger, or it is another version's.
        Unavailable: A disk is damaged or full; what there is of the copy is of no use.
    """
    with read_ledger(path):
        # It is one, and of this version.
        pass
    try:
        os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        source = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)
        with closing(source), closing(sqlite3.connect(to)) as copy:
            # All pages in one step are of one moment, whoever writes: readers of a WAL see none of it.
            source.backup(copy)
            # One file by itself, with nothing beside it.
            copy.execute("pragma journal_mode=delete")
    except (sqlite3.Error, OSError) as exc:
        raise Unavailable(
            f"the ledger cannot be copied: {exc} (file={path})", hint="free space beside it, or mend the disk"
        ) from exc
