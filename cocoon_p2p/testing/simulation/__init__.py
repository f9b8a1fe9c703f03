"""A whole network under trouble, from one number: the real roles, machines, ledgers and scheduler.

Only sockets, disks, models and clocks are stood in for. Nodes die and come back, some over a disk
that is older than it should be; links break, fall silent and are late; engines fail and stall;
prices change, and workers lie about their pace. Whatever happens, what `checks` names must hold.

    plan       what is asked and what goes wrong, drawn from the seed
    nodes      the roles, started and killed     customers  who asks       trouble  what goes wrong
    trace      one order for one seed            checks     what must hold running  one run

    python -m cocoon_p2p.testing.simulation --seeds 20
"""

from cocoon_p2p.testing.simulation.plan import Plan as Plan
from cocoon_p2p.testing.simulation.plan import make_plan as make_plan
from cocoon_p2p.testing.simulation.running import Report as Report
from cocoon_p2p.testing.simulation.running import carry_out as carry_out
from cocoon_p2p.testing.simulation.running import simulate as simulate
