"""Puts one role together out of real parts, as its config file says.

Every role takes its parts as arguments; here they are made: the identity from its key file, libp2p's
transport and DHT, the ledger, the chain, the engine. Each `run_...` serves until `stop` is set, lets
what runs finish, and returns; a cancel ends it at once, with nothing lost that was promised.

libp2p, pytoniq and the engines are imported inside the functions: whoever reads a config or prints
help does not pay for them.
"""

from cocoon_p2p.config.folder import CONTROL_SOCKET as CONTROL_SOCKET
from cocoon_p2p.config.folder import IDENTITY_KEY as IDENTITY_KEY
from cocoon_p2p.config.folder import LEDGER as LEDGER
from cocoon_p2p.node.buying import OpenedClient as OpenedClient
from cocoon_p2p.node.buying import open_client as open_client
from cocoon_p2p.node.buying import open_paying_client as open_paying_client
from cocoon_p2p.node.parts import Parts as Parts
from cocoon_p2p.node.parts import ledger_of as ledger_of
from cocoon_p2p.node.parts import open_parts as open_parts
from cocoon_p2p.node.roles import run_bootstrap as run_bootstrap
from cocoon_p2p.node.roles import run_proxy as run_proxy
from cocoon_p2p.node.roles import run_worker as run_worker
