"""Let upstream's connections log under their own name.

Upstream calls `logging.debug` of the module itself there, which logs to the root logger and, while
that has no handler, gives it one that prints to stderr: from the first connection on, the
application's log is configured by a library.
"""

import logging

from libp2p.network.connection import swarm_connection

PATCHES = ((swarm_connection, "logging", logging.getLogger(swarm_connection.__name__)),)
