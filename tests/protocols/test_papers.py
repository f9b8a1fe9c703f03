import hashlib
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import LocalProtocolError, MalformedMessage, RecordRejected
from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.protocols import papers
from cocoon_p2p.protocols.ids import PAPER_SIZE_MAX_BYTES, Kind, Role, Trust
from cocoon_p2p.protocols.messages import (
    Ask,
    ChannelId,
    ChannelOffer,
    CloseTerms,
    ExchangeId,
    KeyStatement,
    Meter,
    ModelOffer,
    Price,
    Quote,
    Record,
    Signed,
    Usage,
)
from cocoon_p2p.protocols.papers import (
    check,
    check_own,
    decode_signed,
    encode_signed,
    message_hash,
    paper_hash,
    sign,
)
from cocoon_p2p.protocols.schema import encode_message, encode_paper
from tests.protocols.shapes import PAPERS, values

MAIN, DEMO = network_id("mainnet"), network_id("demo")
ALICE, BOB = Identity.from_seed(b"a" * 32), Identity.from_seed(b"b" * 32)
TERMS = CloseTerms(ChannelId(bytes(32)), 1, 2, 3)


def on_network(paper: Any, network: bytes) -> Any:
    return replace(paper, network=network) if hasattr(paper, "network") else paper


@pytest.mark.parametrize("cls", PAPERS, ids=lambda cls: cls.__name__)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_a_signed_paper_is_read_by_who_knows_the_signer(cls: type[papers.Paper], data: st.DataObject) -> None:
    paper = on_network(data.draw(values(cls)), MAIN)

    assert check(cls, sign(ALICE, MAIN, paper), signer=ALICE.peer_id, network=MAIN) == paper


@pytest.mark.parametrize("cls", PAPERS, ids=lambda cls: cls.__name__)
@given(data=st.data())
@settings(max_examples=5, deadline=None)
def test_a_paper_of_another_signer_network_or_kind_is_refused(
    cls: type[papers.Paper], data: st.DataObject
) -> None:
    signed = sign(ALICE, MAIN, on_network(data.draw(values(cls)), MAIN))

    with pytest.raises(RecordRejected):
        check(cls, signed, signer=BOB.peer_id, network=MAIN)
    with pytest.raises(RecordRejected):
        check(cls, signed, signer=ALICE.peer_id, network=DEMO)
    for other in PAPERS:
        if other is not cls:
            with pytest.raises(RecordRejected):
                check(other, signed, signer=ALICE.peer_id, network=MAIN)


@pytest.mark.parametrize("cls", PAPERS, ids=lambda cls: cls.__name__)
@given(body=st.binary(max_size=200), signature=st.binary(min_size=64, max_size=64))
@settings(max_examples=20, deadline=None)
def test_random_bytes_are_refused_whether_signed_or_not(cls: Any, body: bytes, signature: bytes) -> None:
    with pytest.raises(RecordRejected):
        check(cls, Signed(body, signature), signer=ALICE.peer_id, network=MAIN)
    with pytest.raises(MalformedMessage):
        by_alice = Signed(body, ALICE.sign(papers.SIGNED_AS[cls], MAIN, body))
        check(cls, by_alice, signer=ALICE.peer_id, network=MAIN)
    if cls in (KeyStatement, Record, ChannelOffer):
        with pytest.raises(MalformedMessage):
            check_own(cls, Signed(body, signature), network=MAIN)


def statement(identity: Identity = ALICE, network: bytes = MAIN) -> KeyStatement:
    return KeyStatement(network, Role.WORKER, identity.public_key, bytes(32), 1, 2, bytes(16), bytes(32))


def test_a_paper_that_names_its_signer_is_checked_by_that_name() -> None:
    assert check_own(KeyStatement, sign(ALICE, MAIN, statement()), network=MAIN) == statement()

    with pytest.raises(RecordRejected):
        check_own(KeyStatement, sign(BOB, MAIN, statement()), network=MAIN)
    with pytest.raises(RecordRejected):
        check_own(KeyStatement, sign(ALICE, MAIN, statement()), network=DEMO)


def test_a_paper_that_names_another_network_than_its_signature_is_refused() -> None:
    body = encode_paper(statement(network=DEMO))
    signed = Signed(body, ALICE.sign("statement", MAIN, body))

    with pytest.raises(RecordRejected, match="names another network"):
        check(KeyStatement, signed, signer=ALICE.peer_id, network=MAIN)
    with pytest.raises(RecordRejected, match="names another network"):
        check_own(KeyStatement, signed, network=MAIN)
    with pytest.raises(LocalProtocolError, match="names another network"):
        sign(ALICE, MAIN, statement(network=DEMO))


def test_a_paper_too_long_to_travel_is_our_own_fault() -> None:
    offer = ModelOffer(
        "m" * 96, bytes(32), bytes(32), Kind.CHAT, 1, ("f" * 32,) * 32, Price(1, 1, 1, 1), False
    )
    models = tuple(replace(offer, name=f"{number:096}") for number in range(64))
    record = Record(MAIN, ALICE.peer_id, Role.PROXY, bytes(32), (), models, 1, 2, 3, 0)

    with pytest.raises(LocalProtocolError, match=rf"record: too long .* max={PAPER_SIZE_MAX_BYTES} bytes"):
        sign(ALICE, MAIN, record)


def test_every_kind_of_signature_has_a_word_of_its_own() -> None:
    assert len(set(papers.SIGNED_AS.values())) == len(papers.SIGNED_AS)
    assert "accept" not in papers.SIGNED_AS.values(), "that is the sealing handshake's"


def test_a_paper_from_a_later_version_keeps_its_hash_and_its_signature() -> None:
    meter = Meter(ExchangeId(bytes(16)), bytes(32), Usage(1, 2, 3, 4))
    body = cbor2.dumps({**cbor2.loads(encode_paper(meter)), 64: "newer"})
    signed = Signed(body, ALICE.sign("meter", MAIN, body))

    assert check(Meter, signed, signer=ALICE.peer_id, network=MAIN) == meter
    assert paper_hash(signed) == hashlib.sha256(body).digest()
    assert decode_signed(encode_signed(signed)) == signed


def test_a_papers_hash_is_over_what_was_signed_whoever_signed_it() -> None:
    by_both = sign(ALICE, MAIN, TERMS), sign(BOB, MAIN, TERMS)

    assert {paper_hash(signed) for signed in by_both} == {hashlib.sha256(encode_paper(TERMS)).digest()}


def test_a_messages_hash_is_over_its_one_spelling() -> None:
    ask = Ask(ExchangeId(bytes(16)), "m", Kind.CHAT, 1, 2, 3, 4, Trust.OPEN, (), (), ())

    assert message_hash(ask) == hashlib.sha256(encode_message(ask)).digest()


@given(data=st.binary(max_size=150))
def test_a_stored_paper_is_read_or_malformed(data: bytes) -> None:
    try:
        signed = decode_signed(data)
    except MalformedMessage:
        return
    assert encode_signed(signed) == data


# ---------------------------------------------------------------- what is remembered

REMEMBERED = (KeyStatement, Record, Quote)


@pytest.mark.parametrize("cls", REMEMBERED, ids=lambda cls: cls.__name__)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_a_paper_that_was_accepted_vouches_for_no_other_bytes(
    cls: type[papers.Paper], data: st.DataObject
) -> None:
    signed = sign(ALICE, MAIN, on_network(data.draw(values(cls)), MAIN))
    check(cls, signed, signer=ALICE.peer_id, network=MAIN)
    at = data.draw(st.integers(0, len(signed.body) + len(signed.signature) - 1))

    with pytest.raises(RecordRejected):
        check(cls, flipped(signed, at), signer=ALICE.peer_id, network=MAIN)
    with pytest.raises(RecordRejected):
        check(cls, signed, signer=BOB.peer_id, network=MAIN)
    with pytest.raises(RecordRejected):
        check(cls, signed, signer=ALICE.peer_id, network=DEMO)


def flipped(signed: Signed, at: int) -> Signed:
    """Change one bit of a byte of the body, or of the signature after it."""
    both = bytearray(signed.body + signed.signature)
    both[at] ^= 1
    return Signed(bytes(both[: len(signed.body)]), bytes(both[len(signed.body) :]))


def test_a_statement_that_was_accepted_is_not_read_anew() -> None:
    signed = sign(ALICE, MAIN, statement())

    first = check_own(KeyStatement, signed, network=MAIN)

    assert check_own(KeyStatement, Signed(bytes(signed.body), signed.signature), network=MAIN) is first


def test_a_paper_that_was_refused_once_is_refused_again() -> None:
    forged = Signed(sign(ALICE, MAIN, statement()).body, bytes(64))

    for _ in range(2):
        with pytest.raises(RecordRejected):
            check_own(KeyStatement, forged, network=MAIN)


def test_another_who_signs_a_statement_for_its_own_key_is_not_taken_for_the_one_it_names() -> None:
    genuine = sign(ALICE, MAIN, statement())
    check_own(KeyStatement, genuine, network=MAIN)

    with pytest.raises(RecordRejected):
        check_own(KeyStatement, sign(BOB, MAIN, statement()), network=MAIN)
    with pytest.raises(RecordRejected):
        check(KeyStatement, genuine, signer=BOB.peer_id, network=MAIN)


def test_what_was_not_seen_for_long_is_forgotten_and_read_anew() -> None:
    signed = sign(ALICE, MAIN, statement())
    first = check_own(KeyStatement, signed, network=MAIN)

    for number in range(1, papers.PAPERS_REMEMBERED_MAX + 1):
        other = replace(statement(), nonce=number.to_bytes(16, "big"))
        check_own(KeyStatement, sign(ALICE, MAIN, other), network=MAIN)

    assert check_own(KeyStatement, signed, network=MAIN) is not first


def test_a_paper_too_large_is_verified_and_not_remembered() -> None:
    # Keys from 64 on are ignored, so a statement can be as large as any paper.
    fields = cbor2.loads(encode_paper(statement()))
    body = cbor2.dumps({**fields, 64: bytes(papers.PAPER_REMEMBERED_SIZE_MAX_BYTES)})
    signed = Signed(body, ALICE.sign("statement", MAIN, body))

    first = check_own(KeyStatement, signed, network=MAIN)

    assert first == statement()
    assert check_own(KeyStatement, signed, network=MAIN) is not first
