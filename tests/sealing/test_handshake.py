from dataclasses import replace
from hashlib import sha256
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from cocoon_p2p.errors import SealBroken
from cocoon_p2p.protocols.ids import CLOCK_SKEW_SECONDS, SEALING_SESSION_SECONDS
from cocoon_p2p.protocols.messages import Accept, ExchangeId, Hello
from cocoon_p2p.protocols.papers import SIGNED_AS
from cocoon_p2p.protocols.schema import encode_message
from cocoon_p2p.sealing import Accepted, Handshake, start
from tests.sealing.line import BINDING, DEMO, MAIN, NOW, WORKER, hello_to, make_worker, secret, sessions

SMALL_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]
"The points of order 1, 2, 4 and 8, on the curve and its twist (RFC 7748, section 6; cr.yp.to/ecdh.html)."


def exchange_hellos(draw: str = "") -> tuple[Handshake, Accepted]:
    handshake = hello_to(WORKER, draw=draw)
    return handshake, WORKER.accept(handshake.hello, draw=draw)


def changed(spelled: bytes, **changes: Any) -> bytes:
    """Spell a handshake body again with other fields, by key (`k1=...`)."""
    return cbor2.dumps({**cbor2.loads(spelled), **{int(key[1:]): item for key, item in changes.items()}})


def test_a_handshake_gives_both_sides_one_session() -> None:
    client, worker = sessions()

    assert client.id == worker.id
    assert client.expires == worker.expires == NOW + SEALING_SESSION_SECONDS
    sealed = client.seal_part(client.next_request(), 0, True, BINDING, b"hello")
    assert worker.open_part(0, 0, True, BINDING, sealed) == b"hello"


def test_the_same_keys_and_nonces_give_the_same_bytes() -> None:
    once, again = exchange_hellos(), exchange_hellos()

    assert once[0].hello == again[0].hello
    assert (once[1].accept, once[1].signature) == (again[1].accept, again[1].signature)


def test_hello_and_accept_fit_their_messages() -> None:
    handshake, accepted = exchange_hellos()

    encode_message(Hello(ExchangeId(bytes(16)), handshake.hello))
    encode_message(Accept(ExchangeId(bytes(16)), accepted.accept, accepted.signature))


def test_a_worker_without_the_attested_identity_key_is_found_out() -> None:
    handshake = hello_to(WORKER)
    in_the_middle = replace(make_worker("in the middle"), statement_hash=WORKER.statement_hash)
    accepted = in_the_middle.accept(handshake.hello)

    with pytest.raises(SealBroken, match="accept: the signature does not fit"):
        handshake.finish(accepted.accept, accepted.signature, now=NOW)


def test_a_proxy_that_puts_its_own_key_into_the_hello_is_found_out() -> None:
    handshake = hello_to(WORKER)
    own_key = bindings.crypto_scalarmult_base(secret("proxy"))
    accepted = WORKER.accept(changed(handshake.hello, k2=own_key))

    with pytest.raises(SealBroken, match="accept: the signature does not fit"):
        handshake.finish(accepted.accept, accepted.signature, now=NOW)


def test_a_proxy_that_puts_its_own_key_into_the_accept_is_found_out() -> None:
    handshake, accepted = exchange_hellos()
    own_key = bindings.crypto_scalarmult_base(secret("proxy"))

    with pytest.raises(SealBroken, match="accept: the signature does not fit"):
        handshake.finish(changed(accepted.accept, k1=own_key), accepted.signature, now=NOW)


def test_the_identity_key_alone_opens_nothing_without_the_sealing_key() -> None:
    handshake = hello_to(WORKER)
    thief = replace(WORKER, sealing_secret=secret("not the sealing key"))
    accepted = thief.accept(handshake.hello)
    client = handshake.finish(accepted.accept, accepted.signature, now=NOW)
    sealed = client.seal_part(0, 0, True, BINDING, b"hello")

    with pytest.raises(SealBroken, match="request: altered"):
        accepted.session.open_part(0, 0, True, BINDING, sealed)


def test_the_accept_of_an_older_session_answers_no_other_hello() -> None:
    _, older = exchange_hellos("older")
    handshake = hello_to(WORKER)

    with pytest.raises(SealBroken, match="accept: the signature does not fit"):
        handshake.finish(older.accept, older.signature, now=NOW)


def test_a_hello_with_another_nonce_and_the_same_key_needs_an_accept_of_its_own() -> None:
    _, accepted = exchange_hellos()
    other = start(
        WORKER.statement,
        network=MAIN,
        ephemeral_secret=secret("client ephemeral"),
        nonce=secret("another nonce"),
        statement_hash=WORKER.statement_hash,
    )

    with pytest.raises(SealBroken, match="accept: the signature does not fit"):
        other.finish(accepted.accept, accepted.signature, now=NOW)


def test_a_hello_for_another_statement_is_refused() -> None:
    handshake = hello_to(WORKER)

    with pytest.raises(SealBroken, match="hello: for another key statement"):
        WORKER.accept(handshake.hello, statement_hash=secret("a newer statement"))


def test_a_worker_on_another_network_is_found_out() -> None:
    handshake = hello_to(WORKER)
    accepted = WORKER.accept(handshake.hello, network=DEMO)

    with pytest.raises(SealBroken, match="accept: the signature does not fit"):
        handshake.finish(accepted.accept, accepted.signature, now=NOW)


def test_keys_of_another_network_open_nothing() -> None:
    """Even where the same keys and transcript were used: the network is in every derivation."""
    handshake = hello_to(WORKER)
    here, there = WORKER.accept(handshake.hello), WORKER.accept(handshake.hello, network=DEMO)
    client = handshake.finish(here.accept, here.signature, now=NOW)
    sealed = client.seal_part(0, 0, True, BINDING, b"hello")

    assert here.accept == there.accept
    with pytest.raises(SealBroken, match="request: altered"):
        there.session.open_part(0, 0, True, BINDING, sealed)


@pytest.mark.parametrize("key", SMALL_ORDER, ids=lambda key: key[:4].hex())
def test_a_hello_whose_key_makes_every_secret_zero_is_refused(key: bytes) -> None:
    with pytest.raises(SealBroken, match="a key of small order"):
        WORKER.accept(changed(hello_to(WORKER).hello, k2=key))


@pytest.mark.parametrize("key", SMALL_ORDER, ids=lambda key: key[:4].hex())
def test_an_accept_or_statement_whose_key_makes_every_secret_zero_is_refused(key: bytes) -> None:
    handshake, accepted = exchange_hellos()
    answer = changed(accepted.accept, k1=key)
    unsealed = replace(WORKER, statement=replace(WORKER.statement, sealing_key=key))

    with pytest.raises(SealBroken, match="a key of small order"):
        handshake.finish(answer, signed(handshake.hello, answer), now=NOW)
    with pytest.raises(SealBroken, match="a key of small order"):
        hello_to(unsealed).finish(accepted.accept, accepted.signature, now=NOW)


def signed(hello: bytes, answer: bytes) -> bytes:
    """Sign any answer as the worker would, by the words of protocols/sealing.md."""
    return WORKER.identity.sign(
        "accept", MAIN, sha256(sha256(hello).digest() + sha256(answer).digest()).digest()
    )


@pytest.mark.parametrize(
    ("expires_in", "holds"),
    [
        (0, False),
        (-1, False),
        (1, True),
        (SEALING_SESSION_SECONDS + CLOCK_SKEW_SECONDS, True),
        (961, False),
        (2**40, False),
    ],
)
def test_a_session_that_is_over_or_lives_too_long_is_refused(expires_in: int, holds: bool) -> None:
    handshake, accepted = exchange_hellos()
    answer = changed(accepted.accept, k3=int(NOW) + expires_in)

    if holds:
        assert handshake.finish(answer, signed(handshake.hello, answer), now=NOW).expires == NOW + expires_in
    else:
        with pytest.raises(SealBroken, match="dates out of range"):
            handshake.finish(answer, signed(handshake.hello, answer), now=NOW)


def test_the_clients_session_ends_with_the_statement_that_vouches_for_its_key() -> None:
    ends_soon = replace(WORKER, statement=replace(WORKER.statement, expires=int(NOW) + 60))
    handshake = hello_to(ends_soon)
    accepted = WORKER.accept(handshake.hello)

    assert handshake.finish(accepted.accept, accepted.signature, now=NOW).expires == NOW + 60


def test_a_statement_is_named_by_the_hash_of_what_was_signed() -> None:
    newer = replace(WORKER, statement_hash=secret("a body with keys from 64 on"))

    assert newer.accept(hello_to(newer).hello).session.id


@given(hello=st.binary(max_size=150))
def test_a_random_hello_breaks_the_seal_and_nothing_else(hello: bytes) -> None:
    with pytest.raises(SealBroken):
        WORKER.accept(hello)


@given(accept=st.binary(max_size=100), signature=st.binary(max_size=70), is_signed=st.booleans())
def test_a_random_accept_breaks_the_seal_and_nothing_else(
    accept: bytes, signature: bytes, is_signed: bool
) -> None:
    handshake = hello_to(WORKER)

    with pytest.raises(SealBroken):
        handshake.finish(accept, signed(handshake.hello, accept) if is_signed else signature, now=NOW)


@given(place=st.integers(0, 1000), bit=st.integers(0, 7), which=st.sampled_from(["accept", "signature"]))
def test_one_flipped_bit_of_the_answer_breaks_the_seal(place: int, bit: int, which: str) -> None:
    handshake, accepted = exchange_hellos()
    answer = {"accept": bytearray(accepted.accept), "signature": bytearray(accepted.signature)}
    answer[which][place % len(answer[which])] ^= 1 << bit

    with pytest.raises(SealBroken):
        handshake.finish(bytes(answer["accept"]), bytes(answer["signature"]), now=NOW)


def test_the_ephemeral_secret_never_shows() -> None:
    assert str(secret("client ephemeral")) not in repr(hello_to(WORKER))


def test_no_paper_can_pass_for_an_accept() -> None:
    assert "accept" not in SIGNED_AS.values()
