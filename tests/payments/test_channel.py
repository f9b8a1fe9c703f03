"""A channel's id, and what an offer says about it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cocoon_p2p.errors import RecordRejected
from cocoon_p2p.identity import Identity, NetworkId, PeerId
from cocoon_p2p.payments.channel import channel_id, channel_of, make_offer
from cocoon_p2p.protocols.messages import ChannelOffer
from cocoon_p2p.units import NANO_MAX, Nano
from tests.payments.parties import CHANNEL, NETWORK, OFFER, PAYEE, PAYER

VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "payments/vectors/channel.json").read_text()
)["id"]


def test_the_id_is_the_hash_that_the_page_describes() -> None:
    fields = {
        name: bytes.fromhex(VECTOR[name]) for name in ("network", "payer", "payee", "channel_key", "salt")
    }
    numbers = VECTOR["capacity"].to_bytes(8) + VECTOR["close_delay_seconds"].to_bytes(8)
    body = fields["network"] + fields["payer"] + fields["payee"] + fields["channel_key"] + numbers

    by_hand = hashlib.sha256(b"cocoon/channel-id/1\0" + body + fields["salt"]).hexdigest()
    ours = channel_id(
        NetworkId(fields["network"]),
        PeerId(fields["payer"]),
        PeerId(fields["payee"]),
        fields["channel_key"],
        capacity=Nano(VECTOR["capacity"]),
        close_delay_seconds=VECTOR["close_delay_seconds"],
        salt=fields["salt"],
    )

    assert by_hand == ours.hex() == VECTOR["channel"]


def test_an_offer_of_ours_describes_the_channel_that_its_id_names() -> None:
    assert channel_of(OFFER) == CHANNEL
    assert (CHANNEL.payer, CHANNEL.payee, CHANNEL.agreed) == (PAYER.peer_id, PAYEE.peer_id, 1000)


@pytest.mark.parametrize(
    "offer",
    [
        replace(OFFER, network=bytes(32)),
        replace(OFFER, payer=PAYEE.peer_id),
        replace(OFFER, payee=PAYER.peer_id),
        replace(OFFER, channel_key=bytes(32)),
        replace(OFFER, capacity=OFFER.capacity + 1),
        replace(OFFER, close_delay_seconds=0),
        replace(OFFER, salt=b"\x01" * 16),
        replace(OFFER, channel=bytes(32)),
    ],
)
def test_an_offer_in_which_anything_was_changed_has_another_id(offer: ChannelOffer) -> None:
    with pytest.raises(RecordRejected, match="the id does not follow"):
        channel_of(offer)


def test_a_channel_may_hold_as_much_as_any_message_can_say() -> None:
    key = Identity.from_seed(bytes(32)).public_key
    offer = make_offer(NETWORK, PAYER.peer_id, PAYEE.peer_id, key, capacity=Nano(NANO_MAX), salt=bytes(16))

    assert channel_of(offer).agreed == NANO_MAX
