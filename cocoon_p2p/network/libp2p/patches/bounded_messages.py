"""Judge a message of a negotiation before and after it is read.

Upstream collects as many bytes as the message says it has (a hundred reads' worth), from anyone
who connects. And it decodes them without judging them: a byte that is not UTF-8 raises an error
that nothing above catches, so one stream of one peer ends the whole node.
"""

from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from cocoon_p2p.network.libp2p.negotiation import read_message

PATCHES = ((MultiselectCommunicator, "read", read_message),)
