"""Send the header of a negotiation and the first protocol together.

Upstream waits for the peer's header before it says which protocol it wants: two round trips for
each stream, each muxer and each secure channel, where the protocol asks for one.
"""

from libp2p.protocol_muxer.multiselect_client import MultiselectClient

from cocoon_p2p.network.libp2p.negotiation import select_one_of

PATCHES = ((MultiselectClient, "select_one_of", select_one_of),)
