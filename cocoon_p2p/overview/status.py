"""How a node does, for `cocoon status`; of one that does not run, `resting` finds it out."""

import msgspec

from cocoon_p2p.overview.peers import Role
from cocoon_p2p.overview.selling import StandingView, WorkerView
from cocoon_p2p.overview.snapshot import Snapshot


class BooksView(msgspec.Struct, frozen=True):
    """What the ledger of a node that does not run says. Amounts are in nanoTON."""

    written_at: float
    "When it was written to last, in seconds since the Unix epoch."

    channels_open: int
    income_today: int
    expense_today: int
    "Since midnight (UTC)."

    income: int
    expense: int
    "All told."

    uncollected: int
    "What it was paid by voucher and has not collected from a contract, as it knew."


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a node does. Fields keep their names and meaning; new ones may come."""

    role: Role
    network: str
    peer: str
    "Empty: it has no key yet."

    is_running: bool
    said: str = ""
    "Why a node that may run has nothing to say."

    snapshot: Snapshot | None = None
    "What it shows; of a node that does not run, what it showed last."

    snapshot_seconds_ago: float | None = None
    down_since: float | None = None
    "When it was last known to run, in seconds since the Unix epoch; None: it runs, or nobody knows."

    books: BooksView | None = None
    "None: it runs, or has no ledger file."

    proxies: list[StandingView] = []
    workers: list[WorkerView] = []
    canary_budget: int = 0
    canaries_spent: int = 0
    "How a running worker's or proxy's selling goes, as in `snapshot.selling`."


def running_status(seen: Snapshot) -> Status:
    """Say how a node does that runs."""
    selling = seen.selling
    return Status(
        role=seen.role,
        network=seen.network,
        peer=seen.peer,
        is_running=True,
        snapshot=seen,
        snapshot_seconds_ago=0.0,
        proxies=[] if selling is None else selling.proxies,
        workers=[] if selling is None else selling.workers,
        canary_budget=0 if selling is None else selling.canary_budget,
        canaries_spent=0 if selling is None else selling.canaries_spent,
    )
