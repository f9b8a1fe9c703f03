"""What a node tells of its addresses: what others saw work, and what stands in until then."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity, peer_id_text
from cocoon_p2p.network.libp2p.addresses import Address, parse_address
from cocoon_p2p.network.libp2p.announced import Announced, is_public_host
from cocoon_p2p.network.reachability import Source

OWN = Identity.from_seed(bytes(32)).peer_id
OTHER = Identity.from_seed(bytes([1]) * 32).peer_id

LOOPBACK = "/ip4/127.0.0.1/tcp/4001"
HOME = "/ip4/192.168.1.5/tcp/4001"
PUBLIC = "/ip4/5.9.1.2/tcp/4001"
PUBLIC_SIX = "/ip6/2a01:4f8::2/tcp/4001"
MAPPED = "/ip4/5.9.7.7/tcp/40001"
RELAYED = f"/ip4/5.9.9.9/tcp/4001/p2p/{peer_id_text(OTHER)}/p2p-circuit"


def announced(
    *,
    configured: Sequence[str] = (),
    listening: Sequence[str] = (),
    upnp: Sequence[str] = (),
    observed: Sequence[str] = (),
    relay: Sequence[str] = (),
) -> Announced:
    node = Announced(OWN)
    node.offer("configured", configured)
    node.offer("listening", listening)
    node.offer("upnp", upnp)
    node.offer("observed", observed)
    node.offer("relay", relay)
    return node


def judge(node: Announced, **verdicts: bool) -> None:
    texts = {"home": HOME, "public": PUBLIC, "six": PUBLIC_SIX, "mapped": MAPPED}
    node.judge({parse_address(texts[name])[0]: is_reached for name, is_reached in verdicts.items()})


def told(node: Announced) -> tuple[str, ...]:
    suffix = f"/p2p/{peer_id_text(OWN)}"
    assert all(text.endswith(suffix) for text in node.addresses)
    return tuple(text.removesuffix(suffix) for text in node.addresses)


def test_a_node_that_only_dials_tells_nothing() -> None:
    assert Announced(OWN).addresses == ()


def test_a_demo_on_loopback_tells_its_address_at_once() -> None:
    node = announced(listening=[LOOPBACK])

    assert told(node) == (LOOPBACK,)
    assert node.reachability == "unknown"


def test_a_node_in_a_house_tells_its_address_before_anybody_has_tried() -> None:
    assert told(announced(listening=[LOOPBACK, HOME])) == (LOOPBACK, HOME)


def test_a_node_with_a_public_address_does_not_tell_private_ones() -> None:
    assert told(announced(listening=[LOOPBACK, HOME, PUBLIC])) == (PUBLIC,)


def test_what_nobody_tried_but_our_router_or_a_stranger_says_is_not_told() -> None:
    assert told(announced(listening=[HOME], upnp=[MAPPED], observed=[PUBLIC])) == (HOME,)


def test_an_address_that_others_reached_is_told_alone() -> None:
    node = announced(listening=[LOOPBACK, HOME], upnp=[MAPPED], observed=[PUBLIC])

    judge(node, mapped=True, public=False)

    assert told(node) == (MAPPED,)
    assert node.confirmed == (parse_address(MAPPED)[0],)
    assert node.reachability == "public"


def test_a_node_that_nobody_reaches_tells_its_relays() -> None:
    node = announced(listening=[PUBLIC], relay=[RELAYED])
    assert told(node) == (PUBLIC,)

    judge(node, public=False)

    assert told(node) == (RELAYED,)
    assert node.reachability == "private"


def test_relays_are_not_told_once_the_node_is_reached_itself() -> None:
    node = announced(listening=[PUBLIC], relay=[RELAYED])
    judge(node, public=False)

    judge(node, public=True)

    assert told(node) == (PUBLIC,)


def test_a_node_that_nobody_reaches_and_no_relay_takes_tells_only_what_nobody_refuted() -> None:
    node = announced(listening=[HOME, PUBLIC])
    judge(node, public=False)
    assert told(node) == (HOME,)

    judge(node, public=False, home=False)

    assert told(node) == ()


def test_a_neighbour_who_gets_in_does_not_make_a_node_reachable_to_the_world() -> None:
    node = announced(listening=[HOME], observed=[PUBLIC], relay=[RELAYED])

    judge(node, home=True, public=False)

    assert node.reachability == "private"
    assert told(node) == (HOME, RELAYED)


def test_in_a_network_of_one_house_a_neighbours_word_counts() -> None:
    node = announced(listening=[HOME])

    judge(node, home=True)

    assert node.reachability == "public"


def test_what_the_operator_wrote_down_is_told_whatever_others_say() -> None:
    node = announced(configured=["/dns4/proxy.example.org/tcp/4001"], listening=[HOME], observed=[PUBLIC])

    judge(node, public=True, home=True)

    assert told(node) == ("/dns4/proxy.example.org/tcp/4001",)
    assert node.candidates == (Address("dns4", "proxy.example.org", 4001),)


def test_that_what_the_operator_wrote_down_does_not_work_is_known() -> None:
    node = announced(configured=[PUBLIC], listening=[HOME], relay=[RELAYED])

    judge(node, public=False)

    assert node.reachability == "private"
    assert told(node) == (PUBLIC,)


def test_a_verdict_on_an_address_that_is_not_ours_any_more_counts_for_nothing() -> None:
    node = announced(listening=[HOME], upnp=[MAPPED])
    judge(node, mapped=True)

    node.offer("upnp", ())

    assert node.reachability == "unknown"
    assert told(node) == (HOME,)


def test_an_address_is_one_however_it_is_spelled() -> None:
    node = announced(
        listening=[f"/ip6/2A01:4F8:0::2/tcp/4001/p2p/{peer_id_text(OWN)}"], observed=[PUBLIC_SIX]
    )

    assert told(node) == (PUBLIC_SIX,)
    assert len(node.candidates) == 1


@pytest.mark.parametrize("text", ["nonsense", RELAYED, f"{PUBLIC}/p2p/{peer_id_text(OTHER)}"])
def test_an_offer_that_is_not_ours_to_make_changes_nothing(text: str) -> None:
    node = announced(listening=[HOME])
    changed = node.addresses_changed

    with pytest.raises(ConfigurationError):
        node.offer("listening", [PUBLIC, text])

    assert told(node) == (HOME,)
    assert not changed.is_set()


def test_who_waits_is_woken_by_changes_only() -> None:
    node = announced(listening=[PUBLIC])
    addresses, reachability = node.addresses_changed, node.reachability_changed

    node.offer("listening", [PUBLIC])
    node.offer("relay", [RELAYED])
    assert not addresses.is_set()

    judge(node, public=True)
    assert reachability.is_set()
    assert not addresses.is_set()

    node.offer("configured", [HOME])
    assert addresses.is_set()
    assert not node.addresses_changed.is_set()


def test_who_seeks_verdicts_is_woken_by_another_address_to_try() -> None:
    node = announced(listening=[HOME])
    candidates = node.candidates_changed

    node.offer("relay", [RELAYED])
    assert not candidates.is_set()

    node.offer("observed", [PUBLIC])
    assert candidates.is_set()


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.5", "224.0.0.1",
        "::", "::1", "fd00::1", "fe80::1", "ff02::1", "::ffff:10.0.0.1",
        "64:ff9b::a00:1", "2002:a00:1::1", "2001:0:a00:1::1",
    ],
)  # fmt: skip
def test_what_belongs_to_a_site_is_not_public(host: str) -> None:
    assert not is_public_host(host)


@pytest.mark.parametrize("host", ["8.8.8.8", "203.0.113.7", "2a01:4f8::2", "2001:db8::1", "::ffff:8.8.8.8"])
def test_what_belongs_to_the_internet_is_public(host: str) -> None:
    assert is_public_host(host)


_TEXTS = st.lists(st.sampled_from([LOOPBACK, HOME, PUBLIC, PUBLIC_SIX, MAPPED]), max_size=4)
_SOURCES: list[Source] = ["listening", "upnp", "observed"]


@given(
    offers=st.dictionaries(st.sampled_from(_SOURCES), _TEXTS),
    has_relay=st.booleans(),
    verdicts=st.dictionaries(st.sampled_from([HOME, PUBLIC, PUBLIC_SIX, MAPPED]), st.booleans()),
)
def test_nothing_is_told_that_others_could_not_reach(
    offers: dict[Source, list[str]], has_relay: bool, verdicts: dict[str, bool]
) -> None:
    node = announced(relay=[RELAYED] * has_relay)
    for source, texts in offers.items():
        node.offer(source, texts)
    node.judge({parse_address(text)[0]: is_reached for text, is_reached in verdicts.items()})

    refuted = {text for text, is_reached in verdicts.items() if not is_reached}
    confirmed = {text for text, is_reached in verdicts.items() if is_reached} & {*map(str, node.candidates)}
    assert not refuted & {*told(node)}
    assert {*map(str, node.confirmed)} == confirmed
    if node.reachability == "public":
        assert {*told(node)} == confirmed
    if has_relay and node.reachability == "private":
        assert RELAYED in told(node)
    if not verdicts:
        assert {*told(node)} <= {*offers.get("listening", ())}
