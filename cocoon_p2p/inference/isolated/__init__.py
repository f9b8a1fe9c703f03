"""An engine in a process of its own: what crashes there ends no node.

    openings   what to open, as data                       (inference/openings.py)
    opening    the way in
    engine     the face: an `Engine` that keeps a child running
    lives      when a dead child is followed by another    (pure)
    starting   one child, from its start to its end
    running    one child that serves, as the node sees it
    intake     one answer on its way to its reader
    process    starting and ending a process
    line       messages over a socket
    frames     the messages                                (pure)
    faults     errors, carried over                        (pure)
    forwarding logs, carried over
    serving    the child's side
    child      the child's program

Spec: inference/engines.md (In a process of its own), docs/decisions/0015-engines-in-processes.md.
"""

from cocoon_p2p.inference.isolated.engine import IsolatedEngine as IsolatedEngine
from cocoon_p2p.inference.isolated.opening import open_isolated as open_isolated
