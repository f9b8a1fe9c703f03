"""What others say of where servers are."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.hearsay import PEERS_MAX, SAID_MAX, SAYERS_MAX, Hearsay
from cocoon_p2p.network.libp2p.kad_node import agreed_range


def peer(number: int) -> PeerId:
    return peer_id_of(number.to_bytes(32, "big"))


def place(number: int) -> Address:
    return Address("ip4", "127.0.0.1", number)


def test_a_liar_does_not_make_us_forget_what_others_said() -> None:
    hearsay = Hearsay()
    hearsay.note(peer(1), [place(1)], sayer=peer(2))
    for number in range(100, 200):
        hearsay.note(peer(1), [place(number), place(number + 1), place(number + 2)], sayer=peer(3))

    assert hearsay.about(peer(1)) == (place(1), place(199), place(200))
    hearsay.note(peer(1), [], sayer=peer(2))
    assert place(1) in hearsay.about(peer(1))


def test_the_latest_who_say_it_count() -> None:
    hearsay = Hearsay()
    for number in range(1, 10):
        hearsay.note(peer(1), [place(number)], sayer=peer(number))

    assert hearsay.about(peer(1)) == tuple(place(number) for number in range(10 - SAYERS_MAX, 10))
    assert hearsay.about(peer(2)) == ()


def test_who_lies_about_where_a_server_is_does_not_count_it_among_his_own() -> None:
    hearsay, theirs, its = Hearsay(), Address("ip4", "6.6.6.6", 1), Address("ip4", "8.8.8.8", 1)
    hearsay.note(peer(1), [theirs], sayer=peer(2))
    assert agreed_range(hearsay.each_about(peer(1))) == "6.6.6.0/24"

    hearsay.note(peer(1), [its, place(1)], sayer=peer(3))
    assert agreed_range(hearsay.each_about(peer(1))) == ""


def test_a_server_is_in_the_range_that_all_agree_on() -> None:
    hearsay, its = Hearsay(), Address("ip4", "8.8.8.8", 1)
    hearsay.note(peer(1), [place(1), its], sayer=peer(2))
    hearsay.note(peer(1), [its], sayer=peer(3))

    assert agreed_range(hearsay.each_about(peer(1))) == "8.8.8.0/24"
    assert agreed_range(hearsay.each_about(peer(2))) == ""


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 9), st.integers(0, 5)), max_size=50))
@settings(deadline=None)
def test_whatever_is_said_it_is_bounded(said: list[tuple[int, int, int]]) -> None:
    hearsay = Hearsay()
    for number in range(PEERS_MAX):
        hearsay.note(peer(number + 5000), [place(1)], sayer=peer(1))
    for number, sayer, count in said:
        hearsay.note(peer(number), [place(each + 1) for each in range(count)], sayer=peer(sayer))
        assert len(hearsay.about(peer(number))) <= SAYERS_MAX * SAID_MAX
    assert len(hearsay) <= PEERS_MAX
