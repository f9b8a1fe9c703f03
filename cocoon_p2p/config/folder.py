"""The files in a node's data folder, by name: for the node, and for commands that look from outside.

Here and not in the node's own room, so that a command which only looks loads none of what runs one.
"""

CONTROL_SOCKET = "control.sock"
IDENTITY_KEY = "identity.key"
KEPT_PEERS = "peers.json"
LEDGER = "ledger.db"

LAST_SHOWN = "last-shown.json"
"What the node showed of itself when that was last written down: each minute, and at its end."
