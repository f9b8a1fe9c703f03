"""Who is to blame when the rules were broken: as far as it is sure, and with the papers that show it."""

import logging

from cocoon_p2p.client.attempt import Attempt
from cocoon_p2p.client.standing import PROVEN, Standings
from cocoon_p2p.errors import CocoonError, Miscounted
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.payments.settlement import PayingAccount
from cocoon_p2p.protocols.messages import Signed

log = logging.getLogger(__name__)


def hold_against(standings: Standings, attempt: Attempt, error: CocoonError, *, proxy_by: float) -> None:
    """Lower the proxy that it came through, and the worker if it signed or sealed the fault itself."""
    standings.lower(attempt.proxy, proxy_by)
    if isinstance(error, Miscounted) and error.is_by_worker and attempt.terms is not None:
        worker = attempt.terms.worker
        log.warning("a worker miscounted", extra={"worker": peer_id_text(worker), "error": str(error)})
        standings.lower(worker, PROVEN)


async def keep_evidence(account: PayingAccount, attempt: Attempt, error: CocoonError) -> None:
    """Keep what was signed of counts that contradict each other; other faults leave no papers.

    Raises:
        Unavailable: The ledger cannot be written.
    """
    if not isinstance(error, Miscounted) or attempt.terms is None:
        return
    papers = [paper for paper in (attempt.delivery.meter, *error.papers) if isinstance(paper, Signed)]
    await account.keep(str(error), attempt.terms.signed, *papers)
