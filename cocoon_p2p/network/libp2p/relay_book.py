"""Who may be reached through a relay, by whom, and how much of it there is. Pure.

    nothing --reserve--> reserved --reserve--> reserved (refreshed) --expired, released--> nothing
                            |
                         connect --> circuit --close--> nothing

Rule 1: whoever has a reservation may refresh it from the address range it was made in, however full the
        relay is. From another range it is a new one: or a crowd would be moved on to make room for the next.
Rule 2: a reservation goes when its holder's connection does; a circuit goes with its time and data.
Rule 3: what costs nothing to try (a reservation refused, a peer that is not there) is limited for each
        address range, since keys cost nothing either; and so is what may be held: no range has all circuits
        of a relay, nor of a peer.
Rule 4: no relay passes on to itself, nor anybody to himself.

The answers are the specification's status codes. The caller says whether a request came over a relay
and closes what it opened.

Spec: libp2p specs/relay/circuit-v2.md, "Hop protocol".
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.rates import Rate, Shares
from cocoon_p2p.network.libp2p.relay_wire import Limit, Status

_REQUEST_RATE = Rate(per_second=100, burst=500)
_REQUEST_RATE_PER_RANGE = Rate(per_second=1, burst=64)


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What a relay does for others. The defaults suit a small server with a bootstrap node on it."""

    reservations_max: int = 256
    "Peers that may be reached through us at once. Each keeps a connection to us."

    reservations_per_range_max: int = 32
    "Of one IPv4 /24 or IPv6 /48: a house or an office behind one router has a few."

    reservation_seconds: int = 3600
    "How long one lasts before it is to be refreshed: go-libp2p's."

    circuits_max: int = 256
    "Connections that we carry at once: with `circuit_bytes_per_second` this bounds what traffic costs."

    circuits_per_source_max: int = 8
    "Of one peer that dials through us."

    circuits_per_target_max: int = 32
    "Of one peer that is dialled: the others go to its other relay."

    circuits_per_range_max: int = 64
    "Dialled from one IPv4 /24 or IPv6 /48. Each lasts until a hole is punched, or for as long as it is used."

    circuits_per_range_and_target_max: int = 16
    "Of those, to one peer: two keys of a stranger's would keep everybody else from it."

    circuit_seconds: int = 1800
    "Then a circuit ends. Longer than an answer takes; who needs more makes another in time."

    circuit_bytes: int = 64 << 20
    "In each direction; then a circuit ends. A thousand long answers."

    circuit_bytes_per_second: int = 1 << 20
    "In each direction, after a first second's worth at once. Tokens need a thousandth of it."

    request_rate: Rate = _REQUEST_RATE
    request_rate_per_range: Rate = _REQUEST_RATE_PER_RANGE
    "What may be asked of us, in all and from one address range. A node asks twice an hour and for each dial."

    @property
    def circuit(self) -> Limit:
        """What is said to both ends of a circuit."""
        return Limit(self.circuit_seconds, self.circuit_bytes)


@dataclass(frozen=True, slots=True)
class Circuit:
    """One connection that is carried. Two of the same ends differ by their number."""

    source: PeerId
    where: str
    "The address range that the source dials from."

    target: PeerId
    number: int


@dataclass(frozen=True, slots=True)
class _Reservation:
    where: str
    expires: float


class RelayBook:
    """The reservations and circuits of one relay. `now` is a clock that never goes back.

    Args:
        own: The relay itself.
        limits: What it does for others.
        is_connected: Says whether the connection that a peer's reservation was made on still stands.
    """

    def __init__(self, own: PeerId, limits: RelayLimits, is_connected: Callable[[PeerId], bool]) -> None:
        self._own = own
        self._limits = limits
        self._is_connected = is_connected
        self._reservations: dict[PeerId, _Reservation] = {}
        self._circuits: set[Circuit] = set()
        self._numbered = 0
        self._requests = Shares(limits.request_rate, limits.request_rate_per_range)

    @property
    def reservations(self) -> int:
        """How many peers have one, as far as was noticed."""
        return len(self._reservations)

    @property
    def holders(self) -> Collection[PeerId]:
        """Who has a reservation, as far as was noticed."""
        return self._reservations.keys()

    @property
    def circuits(self) -> int:
        """How many connections are carried."""
        return len(self._circuits)

    def reserve(self, peer: PeerId, where: str, now: float) -> Status:
        """Take or refresh a reservation for who asks from the address range `where`.

        A refused refresh leaves what there is.
        """
        if not self._may_ask(where, now):
            return Status.RESERVATION_REFUSED
        self._forget_the_gone(now)
        held = self._reservations.get(peer)
        if held is None and len(self._reservations) >= self._limits.reservations_max:
            return Status.RESERVATION_REFUSED
        if held is None or held.where != where:
            ranges = Counter(each.where for each in self._reservations.values())
            if ranges[where] >= self._limits.reservations_per_range_max:
                return Status.RESERVATION_REFUSED
        self._reservations[peer] = _Reservation(where, now + self._limits.reservation_seconds)
        return Status.OK

    def release(self, peer: PeerId) -> None:
        """Drop a reservation, if there is one."""
        self._reservations.pop(peer, None)

    def connect(self, source: PeerId, where: str, target: PeerId, now: float) -> Circuit | Status:
        """Let `source`, in the address range `where`, be connected to `target`; or say why not.

        A circuit that is given counts until it is closed.
        """
        if not self._may_ask(where, now):
            return Status.RESOURCE_LIMIT_EXCEEDED
        if target in (self._own, source):
            return Status.PERMISSION_DENIED
        reservation = self._reservations.get(target)
        if reservation is None or self._is_gone(target, reservation, now):
            self.release(target)
            return Status.NO_RESERVATION
        if not self._has_room(source, where, target):
            return Status.RESOURCE_LIMIT_EXCEEDED
        self._numbered += 1
        circuit = Circuit(source, where, target, self._numbered)
        self._circuits.add(circuit)
        return circuit

    def close(self, circuit: Circuit) -> None:
        """Count a circuit no longer."""
        self._circuits.discard(circuit)

    def _has_room(self, source: PeerId, where: str, target: PeerId) -> bool:
        limits = self._limits
        of_range = [circuit for circuit in self._circuits if circuit.where == where]
        return (
            len(self._circuits) < limits.circuits_max
            and sum(circuit.source == source for circuit in self._circuits) < limits.circuits_per_source_max
            and sum(circuit.target == target for circuit in self._circuits) < limits.circuits_per_target_max
            and len(of_range) < limits.circuits_per_range_max
            and sum(circuit.target == target for circuit in of_range)
            < limits.circuits_per_range_and_target_max
        )

    def _may_ask(self, where: str, now: float) -> bool:
        if self._requests.seconds_early(where, now):
            return False
        self._requests.use(where, 1, now)
        return True

    def _forget_the_gone(self, now: float) -> None:
        gone = [peer for peer, held in self._reservations.items() if self._is_gone(peer, held, now)]
        for peer in gone:
            self.release(peer)

    def _is_gone(self, peer: PeerId, reservation: _Reservation, now: float) -> bool:
        return reservation.expires <= now or not self._is_connected(peer)
