"""Where servers are said to be, by others. Pure.

It is good for a dial, and for nothing else. Who lies about a server must not make us forget what
others said of it, or one liar could hide it from every path of a search.
"""

from collections import OrderedDict
from collections.abc import Sequence

from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.addresses import Address

PEERS_MAX = 1024
"Servers that we only heard of; who was heard of longest ago is forgotten first."

SAYERS_MAX = 4
"Of those who say where a server is, the latest count."

SAID_MAX = 2
"Addresses that one of them may say."


class Hearsay:
    """What is said of where servers are."""

    def __init__(self) -> None:
        self._said: OrderedDict[PeerId, OrderedDict[PeerId, tuple[Address, ...]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._said)

    def note(self, peer: PeerId, addresses: Sequence[Address], *, sayer: PeerId) -> None:
        """Note what `sayer` says of where `peer` is; nothing takes nothing back."""
        if not addresses:
            return
        said = self._said.setdefault(peer, OrderedDict())
        said[sayer] = tuple(addresses[:SAID_MAX])
        said.move_to_end(sayer)
        if len(said) > SAYERS_MAX:
            said.popitem(last=False)
        self._said.move_to_end(peer)
        if len(self._said) > PEERS_MAX:
            self._said.popitem(last=False)

    def about(self, peer: PeerId) -> tuple[Address, ...]:
        """Say where a server is said to be, each address once."""
        return tuple(dict.fromkeys(address for each in self.each_about(peer) for address in each))

    def each_about(self, peer: PeerId) -> tuple[tuple[Address, ...], ...]:
        """Give what each says of where a server is."""
        said = self._said.get(peer)
        return () if said is None else tuple(said.values())
