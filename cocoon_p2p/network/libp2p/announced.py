"""The addresses that a node tells others: those that others saw work, and what stands in until then.

Rule 1: what the operator wrote down (`announce`) is told and nothing else: only he knows his router.
Rule 2: an address that others reached is told; one that they could not reach is not.
Rule 3: who is reached at none of its own addresses tells those at its relays.
Rule 4: until somebody has tried, the addresses that we listen on are told, or a network that has
        just begun (a demo on loopback, a house) would have nobody to ask. Private ones only where
        there is no public one: to the world they are somebody else's.

What somebody says of a public address counts for the node; what is said of private ones counts
only where it has no other, because a neighbour who gets in proves nothing to the world.
"""

import ipaddress
from collections.abc import Iterable, Mapping

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p.addresses import Address, parse_address
from cocoon_p2p.network.reachability import Reachability, Source

_FOUND: tuple[Source, ...] = ("listening", "upnp", "observed")
"Who finds out by himself; the order in which addresses are told."

_DOCUMENTATION = tuple(
    map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"))
)

_TRANSLATED = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")))
"IPv6 that stands for an IPv4 address (NAT64, Teredo, 6to4), which may be anybody's private one."

Offers = Mapping[Source, tuple[str, ...]]
Verdicts = Mapping[str, bool]
"Of an address, whether others reached it. Who could not try has said nothing."


class Announced:
    """What one node tells of where it is, while that changes.

    Args:
        own: Whose addresses they are.
    """

    def __init__(self, own: PeerId) -> None:
        self._own = own
        self._suffix = f"/p2p/{peer_id_text(own)}"
        self._offers: dict[Source, tuple[str, ...]] = {}
        self._verdicts: dict[str, bool] = {}
        self._told: tuple[str, ...] = ()
        self._reachability: Reachability = "unknown"
        self._addresses_changed = trio.Event()
        self._reachability_changed = trio.Event()
        self._candidates_changed = trio.Event()

    @property
    def addresses(self) -> tuple[str, ...]:
        """What to tell now: multiaddrs that end in `/p2p/<own peer id>`, the best ones first."""
        return self._told

    @property
    def reachability(self) -> Reachability:
        """What others found."""
        return self._reachability

    @property
    def addresses_changed(self) -> trio.Event:
        """Set when `addresses` has changed; ask for it again after each wait."""
        return self._addresses_changed

    @property
    def reachability_changed(self) -> trio.Event:
        """Set when `reachability` has changed; ask for it again after each wait."""
        return self._reachability_changed

    @property
    def candidates_changed(self) -> trio.Event:
        """Set when `candidates` has changed; ask for it again after each wait."""
        return self._candidates_changed

    @property
    def candidates(self) -> tuple[Address, ...]:
        """List the addresses that others could try, best first."""
        return tuple(map(_address, _direct(self._offers)))

    @property
    def confirmed(self) -> tuple[Address, ...]:
        """List the addresses that others reached."""
        return tuple(address for address in self.candidates if self._verdicts.get(str(address)) is True)

    @property
    def listening(self) -> tuple[Address, ...]:
        """List where our own sockets are."""
        return tuple(map(_address, self._offers.get("listening", ())))

    def source(self, address: Address) -> Source:
        """Say who says that we are at one of the candidates."""
        return next(source for source, texts in self._offers.items() if str(address) in texts)

    def offered(self, source: Source) -> tuple[str, ...]:
        """List what was offered last, without our peer id."""
        return self._offers.get(source, ())

    def offer(self, source: Source, addresses: Iterable[str]) -> None:
        """Replace what `source` says; nothing takes all of it back.

        Args:
            source: Who says so.
            addresses: Multiaddrs, with our `/p2p/` at their end or without.

        Raises:
            ConfigurationError: One of another source than `relay` is not a TCP multiaddr, or names
                another peer. Nothing has changed.
        """
        spell = self._spell_direct if source != "relay" else self._spell_relayed
        texts = tuple(dict.fromkeys(map(spell, addresses)))
        before = self.candidates
        self._offers[source] = texts
        if self.candidates != before:
            event, self._candidates_changed = self._candidates_changed, trio.Event()
            event.set()
        self._decide()

    def judge(self, verdicts: Mapping[Address, bool]) -> None:
        """Replace what others found: of each address that they tried, whether they reached it."""
        self._verdicts = {str(address): is_reached for address, is_reached in verdicts.items()}
        self._decide()

    def _spell_direct(self, text: str) -> str:
        address, peer = parse_address(text)
        if peer not in (None, self._own):
            raise ConfigurationError(
                f"the address to announce names another peer: {text}",
                hint=f"leave /p2p/... out, or write {self._suffix}",
            )
        return str(address)

    def _spell_relayed(self, text: str) -> str:
        return text.removesuffix(self._suffix)

    def _decide(self) -> None:
        reachability = reachability_by(self._offers, self._verdicts)
        told = tuple(text + self._suffix for text in worth_telling(self._offers, self._verdicts))
        # Both stand before either event is set: whoever wakes may look at both.
        changed: list[trio.Event] = []
        if reachability != self._reachability:
            self._reachability = reachability
            changed.append(self._reachability_changed)
            self._reachability_changed = trio.Event()
        if told != self._told:
            self._told = told
            changed.append(self._addresses_changed)
            self._addresses_changed = trio.Event()
        for event in changed:
            event.set()


def reachability_by(offers: Offers, verdicts: Verdicts) -> Reachability:
    """Say what the verdicts make of a node with these offers."""
    found = {text: verdicts[text] for text in _direct(offers) if text in verdicts}
    of_public = [is_reached for text, is_reached in found.items() if is_public(_address(text))]
    counting = of_public or list(found.values())
    if not counting:
        return "unknown"
    return "public" if any(counting) else "private"


def worth_telling(offers: Offers, verdicts: Verdicts) -> tuple[str, ...]:
    """Choose, by the rules above, which of the offered addresses others are told."""
    if configured := offers.get("configured"):
        return configured
    confirmed = [text for text in _direct(offers) if verdicts.get(text) is True]
    if reachability_by(offers, verdicts) == "private":
        confirmed += offers.get("relay", ())
    return tuple(confirmed) or _untried(offers, verdicts)


def is_public(address: Address) -> bool:
    """Say whether an address means the same everywhere: a name, or an IP of the internet's."""
    return address.is_name or is_public_host(address.host)


def is_public_host(host: str) -> bool:
    """Say the same of an IP address."""
    ip = ipaddress.ip_address(host)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    # Nobody has those of documentation, so laboratories play the internet with them.
    is_somewhere = ip.is_global or any(ip in network for network in _DOCUMENTATION)
    return is_somewhere and not ip.is_multicast and not any(ip in network for network in _TRANSLATED)


def _untried(offers: Offers, verdicts: Verdicts) -> tuple[str, ...]:
    listening = [text for text in offers.get("listening", ()) if text not in verdicts]
    public = [text for text in listening if is_public(_address(text))]
    return tuple(public or listening)


def _direct(offers: Offers) -> tuple[str, ...]:
    """List where we would be dialled ourselves; what the operator wrote down replaces what was found."""
    found = (text for source in _FOUND for text in offers.get(source, ()))
    return offers.get("configured") or tuple(dict.fromkeys(found))


def _address(text: str) -> Address:
    return parse_address(text)[0]
