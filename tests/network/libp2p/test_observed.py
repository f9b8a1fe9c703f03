"""From where others say that we come: hints, as long as enough of them agree."""

from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.observed import OBSERVERS_MAX, Observations

LISTENING = (Address("ip4", "192.168.1.5", 4001), Address("ip6", "fd00::5", 4001))


def seen(*said: tuple[str, str]) -> Observations:
    observations = Observations()
    for observer, host in said:
        observations.note(observer, host)
    return observations


def test_the_only_one_whom_we_dialled_is_heard() -> None:
    assert seen(("198.51.100.1", "203.0.113.7")).hosts() == ("203.0.113.7",)


def test_one_of_several_is_not_heard_alone() -> None:
    observations = seen(
        ("198.51.100.1", "203.0.113.7"), ("5.9.1.1", "203.0.113.7"), ("6.9.1.1", "203.0.113.99")
    )

    assert observations.hosts() == ("203.0.113.7",)
    assert observations.observers("203.0.113.7") == 2


def test_many_keys_on_one_range_have_one_voice() -> None:
    liars = [(f"6.9.1.{number}", "203.0.113.99") for number in range(20)]
    observations = seen(*liars, ("198.51.100.1", "203.0.113.7"), ("5.9.1.1", "203.0.113.7"))

    assert observations.hosts() == ("203.0.113.7",)


def test_who_has_seen_us_elsewhere_before_counts_once() -> None:
    observations = seen(("5.9.1.1", "203.0.113.1"), ("5.9.1.1", "203.0.113.7"))

    assert observations.hosts() == ("203.0.113.7",)


def test_a_new_address_takes_over_once_two_see_it() -> None:
    observations = seen(
        ("1.9.1.1", "203.0.113.1"), ("2.9.1.1", "203.0.113.1"),
        ("3.9.1.1", "203.0.113.7"), ("1.9.1.1", "203.0.113.7"),
    )  # fmt: skip

    assert observations.hosts() == ("203.0.113.7",)


def test_the_port_is_ours_and_the_family_too() -> None:
    observations = seen(("5.9.1.1", "203.0.113.7"), ("2a01::1", "2001:db8::7"))

    assert observations.candidates(LISTENING) == (
        Address("ip4", "203.0.113.7", 4001),
        Address("ip6", "2001:db8::7", 4001),
    )
    assert observations.candidates(LISTENING[:1]) == (Address("ip4", "203.0.113.7", 4001),)


def test_a_flood_of_observers_is_forgotten_oldest_first() -> None:
    observations = seen(*((f"9.{number // 250}.{number % 250}.1", "203.0.113.9") for number in range(1000)))

    assert observations.observers("203.0.113.9") == OBSERVERS_MAX
