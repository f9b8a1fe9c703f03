"""What is written for the contract, and read from it, by another library's spelling and by the vectors."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings
from pytoniq_core import Address, Cell, begin_cell
from pytoniq_core.tlb.account import StateInit
from pytoniq_core.tlb.transaction import MessageAny

from cocoon_p2p.errors import MalformedMessage, RecordRejected
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder, Slice
from cocoon_p2p.payments.close_terms import (
    VALID_UNTIL_MAX,
    check_close_terms,
    close_terms_hash,
    sign_close_terms,
)
from cocoon_p2p.payments.contract import AccountId, ContractState, Deployment, Notice
from cocoon_p2p.payments.voucher import sign_voucher, voucher_hash
from cocoon_p2p.protocols.messages import ChannelId, CloseTerms
from cocoon_p2p.units import Nano
from tests.payments.contract.generate_vectors import FILE, make

NAMES = st.binary(min_size=32, max_size=32)
UINT_64 = st.integers(0, 2**63 - 1)
DEPLOYMENTS = st.builds(
    Deployment,
    global_id=st.integers(-(2**31), 2**31 - 1),
    payer=NAMES.map(AccountId),
    payee=NAMES.map(AccountId),
    payer_key=NAMES,
    payee_key=NAMES,
    close_delay_seconds=st.integers(0, contract.CLOSE_DELAY_SECONDS_MAX),
    salt=st.binary(min_size=16, max_size=16),
)
DEPLOYMENT = Deployment(-239, AccountId(bytes(32)), AccountId(bytes(32)), bytes(32), bytes(32), 60, bytes(16))
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(bytes(32))
TERMS = CloseTerms(ChannelId(b"c" * 32), 7, 1_000, 1_800_000_000)


def data_of(state: ContractState) -> Cell:
    """Write what the contract stores with another library, field by field as channel.tlb has them."""
    deployment = state.deployment
    terms = begin_cell().store_int(deployment.global_id, 32)
    terms = terms.store_bytes(deployment.payer).store_bytes(deployment.payee)
    terms = terms.store_uint(deployment.close_delay_seconds, 24).store_bytes(deployment.salt)
    data = begin_cell().store_uint(state.epoch, 64).store_uint(state.close_at, 32)
    data = data.store_uint(state.claimed, 64)
    data = data.store_bytes(deployment.payer_key).store_bytes(deployment.payee_key)
    return data.store_ref(terms.end_cell()).end_cell()


def test_the_vectors_are_what_the_code_makes():
    assert json.loads(Path(FILE).read_text()) == make()


@given(DEPLOYMENTS)
def test_a_channel_is_where_another_library_finds_it(deployment):
    code = Cell.one_from_boc(contract.code())
    data = data_of(ContractState(0, 0, Nano(0), deployment))
    expected = StateInit(code=code, data=data).serialize()

    assert contract.channel_id(deployment) == expected.hash
    assert Cell.one_from_boc(contract.state_init(deployment)) == expected


@given(DEPLOYMENTS, UINT_64, st.integers(0, 2**32 - 1), UINT_64.map(Nano))
def test_what_the_contract_stores_is_read_back(deployment, epoch, close_at, claimed):
    state = ContractState(epoch, close_at, claimed, deployment)

    assert contract.read_state(contract.code(), data_of(state).to_boc()) == state


def test_every_part_of_a_deployment_moves_the_channel():
    others = {
        "global_id": -3,
        "payer": b"\1" * 32,
        "payee": b"\1" * 32,
        "payer_key": b"\1" * 32,
        "payee_key": b"\1" * 32,
        "close_delay_seconds": 61,
        "salt": b"\1" * 16,
    }
    assert set(others) == set(asdict(DEPLOYMENT))

    places = {contract.channel_id(replace(DEPLOYMENT, **{name: value})) for name, value in others.items()}

    assert len(places | {contract.channel_id(DEPLOYMENT)}) == len(others) + 1


def test_an_account_with_other_code_is_no_channel():
    state = ContractState(
        1, 0, Nano(0), Deployment(0, *(AccountId(bytes(32)),) * 2, bytes(32), bytes(32), 0, bytes(16))
    )

    with pytest.raises(MalformedMessage, match="other code"):
        contract.read_state(write_boc(Builder().uint(0, 8).cell()), data_of(state).to_boc())


@given(st.binary(max_size=200))
def test_whatever_an_account_holds_is_read_or_refused(data):
    bag = write_boc(Builder().octets(data[:120]).cell())

    for read in (
        lambda: contract.read_state(contract.code(), data),
        lambda: contract.read_state(contract.code(), bag),
    ):
        with pytest.raises(MalformedMessage):
            read()


@pytest.mark.parametrize("where", ["data", "terms"])
def test_bits_that_no_contract_of_ours_stores_are_refused(where):
    terms = begin_cell().store_bytes(bytes(88 + (where == "terms"))).end_cell()
    data = begin_cell().store_bytes(bytes(84 + (where == "data"))).store_ref(terms).end_cell()

    with pytest.raises(MalformedMessage, match="stores something else"):
        contract.read_state(contract.code(), data.to_boc())


@given(UINT_64, UINT_64.map(Nano), st.binary(min_size=64, max_size=64))
def test_a_claim_is_laid_out_as_published(query_id, total, signature):
    body = begin_cell().store_uint(0x70617902, 32).store_uint(query_id, 64).store_uint(total, 64)

    assert (
        Cell.one_from_boc(contract.claim(total, signature, query_id))
        == body.store_bytes(signature).end_cell()
    )


@given(NAMES.map(ChannelId), UINT_64.map(Nano), st.binary(min_size=64, max_size=64))
def test_an_external_claim_is_one_cell_that_another_library_reads(channel, total, signature):
    cell = Cell.one_from_boc(contract.external_claim(channel, total, signature))

    message = MessageAny.deserialize(cell.begin_parse())

    assert not cell.refs
    assert message.is_external
    assert message.info.dest == Address((0, channel))
    assert message.body == Cell.one_from_boc(contract.claim(total, signature))


@given(NAMES.map(ChannelId), UINT_64, UINT_64.map(Nano))
def test_a_voucher_is_the_hash_of_the_cell_that_the_contract_builds(channel, epoch, total):
    cell = begin_cell().store_bytes(b"VOUC").store_int(0, 8).store_bytes(channel)

    assert (
        voucher_hash(channel, epoch, total)
        == cell.store_uint(epoch, 64).store_uint(total, 64).end_cell().hash
    )


@given(NAMES.map(ChannelId), UINT_64, UINT_64, st.integers(0, VALID_UNTIL_MAX))
def test_close_terms_are_the_hash_of_the_cell_that_the_contract_builds(channel, epoch, total, valid_until):
    cell = begin_cell().store_bytes(b"CLOS").store_int(0, 8).store_bytes(channel)
    cell = cell.store_uint(epoch, 64).store_uint(total, 64).store_uint(valid_until, 32).end_cell()

    assert close_terms_hash(CloseTerms(channel, epoch, total, valid_until)) == cell.hash


def test_close_terms_are_taken_with_the_right_signature_alone():
    signature = sign_close_terms(SECRET, TERMS)

    check_close_terms(PUBLIC, TERMS, signature)
    for key, terms, shown in (
        (bindings.crypto_sign_seed_keypair(b"\1" * 32)[0], TERMS, signature),
        (PUBLIC, replace(TERMS, total=1_001), signature),
        (PUBLIC, replace(TERMS, epoch=8), signature),
        (PUBLIC, replace(TERMS, valid_until=TERMS.valid_until + 1), signature),
        (PUBLIC, TERMS, signature[:-1]),
        (PUBLIC, TERMS, sign_voucher(SECRET, TERMS.channel, TERMS.epoch, Nano(TERMS.total))),
    ):
        with pytest.raises(RecordRejected):
            check_close_terms(key, terms, shown)


def test_close_terms_later_than_the_contract_can_tell_are_refused():
    terms = replace(TERMS, valid_until=VALID_UNTIL_MAX + 1)

    with pytest.raises(RecordRejected, match="later than the contract can tell"):
        check_close_terms(PUBLIC, terms, bytes(64))


@pytest.mark.parametrize(("op", "is_rest"), [(0x70617910, False), (0x70617911, True)])
def test_what_comes_with_the_contracts_money_is_read(op, is_rest):
    body = Builder().uint(op, 32).uint(5, 64).uint(7, 64).cell()

    assert contract.read_notice(write_boc(body)) == Notice(5, Nano(7), is_rest)


@pytest.mark.parametrize("bits", [0, 31, 32, 40])
def test_what_comes_with_other_money_is_no_notice(bits):
    assert contract.read_notice(write_boc(Builder().uint(0, bits).cell())) is None


def test_a_notice_cut_short_is_refused():
    with pytest.raises(MalformedMessage):
        contract.read_notice(write_boc(Builder().uint(0x70617910, 32).uint(0, 64).cell()))


def test_bodies_have_the_operations_and_query_ids_of_the_published_layout():
    bodies = {
        0x70617901: contract.top_up(9),
        0x70617904: contract.start_close(9),
        0x70617905: contract.finish_close(9),
    }
    for op, body in bodies.items():
        slice_ = Slice(read_one(body))
        assert (slice_.uint(32), slice_.uint(64), slice_.bits_left) == (op, 9, 0)
