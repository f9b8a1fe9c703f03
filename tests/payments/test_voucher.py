import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from cocoon_p2p.errors import VoucherRejected
from cocoon_p2p.payments.voucher import check_voucher, sign_voucher, voucher_body, voucher_hash
from cocoon_p2p.protocols.messages import ChannelId, Voucher
from cocoon_p2p.units import Nano

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "payments/vectors/voucher.json").read_text()
)
KEY, SECRET = bindings.crypto_sign_seed_keypair(bytes(32))
CHANNEL, EPOCH = ChannelId(b"\x07" * 32), 3

channels = st.binary(min_size=32, max_size=32).map(ChannelId)
numbers = st.integers(0, 2**63 - 1)


def named(case: dict[str, Any]) -> str:
    return str(case["name"])


def voucher_of(case: dict[str, Any]) -> tuple[bytes, ChannelId, int, Voucher]:
    channel = bytes.fromhex(case["channel"])
    voucher = Voucher(channel, case["epoch"], case["total"], bytes.fromhex(case["signature"]))
    return bytes.fromhex(case["channel_key"]), channel, case["epoch"], voucher


@pytest.mark.parametrize("case", VECTORS["valid"], ids=named)
def test_each_vector_is_laid_out_hashed_and_signed_as_written(case: dict[str, Any]) -> None:
    _, secret = bindings.crypto_sign_seed_keypair(bytes.fromhex(case["channel_seed"]))
    fields = ChannelId(bytes.fromhex(case["channel"])), case["epoch"], Nano(case["total"])

    assert voucher_body(*fields).hex() == case["body"]
    assert voucher_hash(*fields).hex() == case["cell_hash"]
    assert sign_voucher(secret, *fields).hex() == case["signature"]
    key, channel, epoch, voucher = voucher_of(case)
    check_voucher(key, channel, epoch, voucher, paid=Nano(0))


@pytest.mark.parametrize("case", VECTORS["rejected"], ids=named)
def test_a_voucher_that_differs_in_one_place_is_rejected(case: dict[str, Any]) -> None:
    key, channel, epoch, voucher = voucher_of(case)

    with pytest.raises(VoucherRejected):
        check_voucher(key, channel, epoch, voucher, paid=Nano(0))


@pytest.mark.parametrize("case", VECTORS["valid"], ids=named)
def test_the_cell_is_two_descriptors_and_53_bytes_of_data(case: dict[str, Any]) -> None:
    cell = bytes.fromhex(case["cell"])

    # TVM whitepaper 3.1.4, 3.1.5: d1 counts references, d2 is twice the number of whole bytes.
    assert cell[:2] == bytes((0, 2 * 53))
    assert len(cell) == 55
    assert hashlib.sha256(cell).hexdigest() == case["cell_hash"]


@pytest.mark.parametrize("case", VECTORS["valid"], ids=named)
def test_the_hash_is_the_one_that_a_library_for_ton_finds(case: dict[str, Any]) -> None:
    core = pytest.importorskip(
        "pytoniq_core", reason="pytoniq-core is missing: `make test` installs it from the lock"
    )
    builder = core.begin_cell().store_uint(int.from_bytes(b"VOUC"), 32).store_int(0, 8)
    builder = builder.store_bytes(bytes.fromhex(case["channel"]))
    cell = builder.store_uint(case["epoch"], 64).store_uint(case["total"], 64).end_cell()

    assert cell.hash.hex() == case["cell_hash"]


@given(channels, numbers, numbers, channels, numbers, numbers)
def test_no_two_vouchers_are_laid_out_alike(
    channel: ChannelId, epoch: int, total: int, other: ChannelId, other_epoch: int, other_total: int
) -> None:
    same = (channel, epoch, total) == (other, other_epoch, other_total)

    assert (
        voucher_body(channel, epoch, Nano(total)) == voucher_body(other, other_epoch, Nano(other_total))
    ) is same


@given(st.binary(min_size=64, max_size=64))
def test_no_chance_signature_is_taken(signature: bytes) -> None:
    voucher = Voucher(CHANNEL, EPOCH, 10, signature)

    with pytest.raises(VoucherRejected, match="another key"):
        check_voucher(KEY, CHANNEL, EPOCH, voucher, paid=Nano(0))


@pytest.mark.parametrize(
    ("channel", "epoch", "why"), [(b"\x08" * 32, 3, "another channel"), (b"\x07" * 32, 4, "another epoch")]
)
def test_a_voucher_that_its_key_signed_for_another_life_is_rejected_for_that(
    channel: bytes, epoch: int, why: str
) -> None:
    signature = sign_voucher(SECRET, ChannelId(channel), epoch, Nano(10))

    with pytest.raises(VoucherRejected, match=why) as caught:
        check_voucher(KEY, CHANNEL, EPOCH, Voucher(channel, epoch, 10, signature), paid=Nano(4))

    assert (caught.value.claimed, caught.value.paid) == (10, 4)
