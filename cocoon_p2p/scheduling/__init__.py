"""Which worker for this Ask, and why not the others.

    standing   a worker as its proxy knows it            pace     how quick it proved, fading with time
    odds       how often it kept its word                witness  whose exchange showed it
    ladder     who may serve an Ask, else why not        roster   everybody, laid out to be looked through
    expected   what an exchange will take and cost       choosing the pick
    refusing   what is told when nobody may              explaining  the same pick, with every reason
    prospect   what there is to wait for                 fair_queue  whose turn it is

All of it is reckoned from what is given: time and luck are arguments. What is given up for that is
an index: each Ask looks at every worker that offers its model, in a third of a microsecond each.

Spec: protocols/exchange.md (Ask).
"""

from cocoon_p2p.scheduling.choosing import Choice as Choice
from cocoon_p2p.scheduling.choosing import choose as choose
from cocoon_p2p.scheduling.choosing import may_serve as may_serve
from cocoon_p2p.scheduling.choosing import pick as pick
from cocoon_p2p.scheduling.expected import slowing as slowing
from cocoon_p2p.scheduling.explaining import Considered as Considered
from cocoon_p2p.scheduling.explaining import Decision as Decision
from cocoon_p2p.scheduling.explaining import explain as explain
from cocoon_p2p.scheduling.fair_queue import FairQueue as FairQueue
from cocoon_p2p.scheduling.fair_queue import Place as Place
from cocoon_p2p.scheduling.ladder import LADDER as LADDER
from cocoon_p2p.scheduling.ladder import STALE_SECONDS as STALE_SECONDS
from cocoon_p2p.scheduling.odds import Fault as Fault
from cocoon_p2p.scheduling.odds import Odds as Odds
from cocoon_p2p.scheduling.pace import Pace as Pace
from cocoon_p2p.scheduling.prospect import Prospect as Prospect
from cocoon_p2p.scheduling.prospect import expected_seconds as expected_seconds
from cocoon_p2p.scheduling.prospect import prospect as prospect
from cocoon_p2p.scheduling.refusing import RETRY_SECONDS as RETRY_SECONDS
from cocoon_p2p.scheduling.refusing import refuse as refuse
from cocoon_p2p.scheduling.roster import Roster as Roster
from cocoon_p2p.scheduling.standing import WorkerStanding as WorkerStanding
from cocoon_p2p.scheduling.witness import OURSELVES as OURSELVES
from cocoon_p2p.scheduling.witness import Witness as Witness
