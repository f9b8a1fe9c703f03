"""How a node stands that does not run, or has nothing to say: by what its folder holds."""

from pathlib import Path

from cocoon_p2p.config.folder import IDENTITY_KEY, LEDGER
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.keyfile import load
from cocoon_p2p.ledger import Side
from cocoon_p2p.overview.earnings import uncollected_of
from cocoon_p2p.overview.last_shown import read_last
from cocoon_p2p.overview.peers import Role
from cocoon_p2p.overview.status import BooksView, Status
from cocoon_p2p.overview.today import midnight, tally_in
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.store.reading import read_ledger


def resting_status(role: Role, network: str, folder: Path, now: float, *, said: str = "") -> Status:
    """Say how a node stands that has nothing to say, by its folder; a part that cannot be read is left out.

    Args:
        role: Whose folder it is.
        network: Which network its file names.
        folder: The data folder.
        now: Seconds since the Unix epoch.
        said: Why it does not answer, where it runs all the same.

    Raises:
        Unavailable: The ledger cannot be read.
    """
    seen, books = read_last(folder), _books(folder / LEDGER, now)
    known = [seen.now] if seen is not None else []
    known += [books.written_at] if books is not None else []
    return Status(
        role=role,
        network=network,
        peer=_peer(folder),
        is_running=bool(said),
        said=said,
        snapshot=seen,
        snapshot_seconds_ago=None if seen is None else max(0.0, now - seen.now),
        down_since=None if said else max(known, default=None),
        books=books,
    )


def _peer(folder: Path) -> str:
    try:
        return peer_id_text(load(folder / IDENTITY_KEY).peer_id)
    except (ConfigurationError, FileNotFoundError):
        # `cocoon doctor` says what is wrong with it.
        return ""


def _books(ledger: Path, now: float) -> BooksView | None:
    if not ledger.is_file():
        return None
    tally = tally_in(ledger, midnight(now))
    with read_ledger(ledger) as reading:
        rows = list(reading.channels())
    wal = ledger.with_name(ledger.name + "-wal")
    return BooksView(
        written_at=max(path.stat().st_mtime for path in (ledger, wal) if path.is_file()),
        channels_open=sum(row.phase == Phase.OPEN and not row.is_settled for row in rows),
        income_today=tally.income,
        expense_today=tally.expense,
        income=sum(amount for name, amount in tally.charged.items() if name.side is Side.PAYEE),
        expense=sum(amount for name, amount in tally.charged.items() if name.side is Side.PAYER),
        uncollected=sum(uncollected_of(row) for row in rows if row.name.side is Side.PAYEE and row.epoch),
    )
