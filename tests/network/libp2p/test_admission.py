"""Places for those who connect to us."""

from contextlib import ExitStack

import pytest

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.network.libp2p.admission import Admission
from cocoon_p2p.network.libp2p.limits import Limits

LIMITS = Limits(connections_max=4, connections_per_range_max=3, handshakes_max=2, handshakes_per_range_max=1)


def test_places_come_back_whatever_happens_to_who_held_them() -> None:
    admission = Admission(LIMITS)
    for _ in range(20):
        with (
            pytest.raises(ZeroDivisionError),
            admission.connection("203.0.113.1"),
            admission.handshake("203.0.113.1"),
        ):
            assert (admission.connections, admission.handshakes) == (1, 1)
            raise ZeroDivisionError

    assert (admission.connections, admission.handshakes) == (0, 0)


def test_one_range_cannot_take_every_place() -> None:
    admission = Admission(LIMITS)
    with ExitStack() as held:
        for number in range(3):
            held.enter_context(admission.connection(f"203.0.113.{number}"))
        with pytest.raises(Unavailable, match=r"range=203\.0\.113\.0/24 here=3 all=3"):
            held.enter_context(admission.connection("203.0.113.9"))
        held.enter_context(admission.connection("198.51.100.1"))

        with pytest.raises(Unavailable, match="here=0 all=4"):
            held.enter_context(admission.connection("192.0.2.1"))


def test_silent_sockets_are_counted_apart_from_connections() -> None:
    admission = Admission(LIMITS)
    with admission.handshake("203.0.113.1"):
        with pytest.raises(Unavailable, match="handshake"), admission.handshake("203.0.113.2"):
            pass
        with admission.connection("203.0.113.1"):
            pass
