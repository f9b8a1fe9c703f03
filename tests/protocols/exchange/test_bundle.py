"""A bundle proves what its papers say, and nothing else passes for one."""

import hashlib
import json
import re
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.attestation.verdict import Tri
from cocoon_p2p.errors import LocalProtocolError, MalformedMessage, SealBroken
from cocoon_p2p.protocols.contents import encode_answer
from cocoon_p2p.protocols.exchange.bundle import (
    Bundle,
    SealedChunk,
    decode_bundle,
    encode_bundle,
    redact,
)
from cocoon_p2p.protocols.exchange.findings import Subject, Verification
from cocoon_p2p.protocols.exchange.verification import verify_bundle
from cocoon_p2p.protocols.ids import (
    BUNDLE_CHUNKS_MAX,
    BUNDLE_CHUNKS_SIZE_MAX_BYTES,
    BUNDLE_SIZE_MAX_BYTES,
    Outcome,
    Role,
)
from cocoon_p2p.protocols.messages import Meter, Receipt, Usage
from cocoon_p2p.protocols.papers import message_hash, paper_hash, sign
from cocoon_p2p.protocols.schema import encode_message
from cocoon_p2p.records import make_record
from cocoon_p2p.sealing import open_answer_chunk
from tests.protocols import samples
from tests.protocols.generate_vectors import FOLDER
from tests.protocols.shapes import rule

VECTORS = json.loads((FOLDER / "bundle.json").read_text())
DATA = bytes.fromhex(VECTORS["bytes"])
ANSWER: str = VECTORS["answer"]
GOOD = decode_bundle(DATA)
NETWORK, WORKER, PROXY = samples.NETWORK, samples.WORKER, samples.PROXY


def refuted(verification: Verification) -> set[Subject]:
    return {one.subject for one in verification.findings if one.claim is Tri.REFUTED}


def resettled(receipt: Receipt | None = None, /, **changes: Any) -> Bundle:
    """Give the good bundle with another settlement, truly signed."""
    if receipt is not None:
        changes["receipt"] = sign(WORKER, NETWORK, receipt)
    return replace(GOOD, settlement=sign(PROXY, NETWORK, replace(samples.SETTLEMENT, **changes)))


def requoted(**changes: Any) -> Bundle:
    """Give the good bundle with another quote, and the later papers made anew for it."""
    quote = sign(PROXY, NETWORK, replace(samples.QUOTE, **changes))
    receipt = replace(samples.RECEIPT, quote_hash=paper_hash(quote))
    settlement = replace(
        samples.SETTLEMENT, quote_hash=paper_hash(quote), receipt=sign(WORKER, NETWORK, receipt)
    )
    chunks = tuple(replace(chunk, meter_signature=None) for chunk in GOOD.chunks)
    return replace(GOOD, quote=quote, settlement=sign(PROXY, NETWORK, settlement), chunks=chunks)


def broken_off(*, meter: Usage | None) -> Bundle:
    """Give the bundle of an exchange whose worker vanished."""
    signed = None
    if meter is not None:
        signed = sign(WORKER, NETWORK, Meter(samples.EXCHANGE, paper_hash(samples.SIGNED_QUOTE), meter))
    amount = 0 if meter is None else meter.completion * 20
    return resettled(
        outcome=Outcome.FAILED,
        receipt=None,
        meter=signed,
        worker_amount=amount,
        commission=amount * 250 // 10_000,
    )


# ---------------------------------------------------------------- the vector


def test_the_vector_is_what_the_cddl_says_and_everything_in_it_is_affirmed() -> None:
    rule(Bundle).validate_cbor(DATA)

    verification = verify_bundle(GOOD, answer=ANSWER)

    assert {finding.claim for finding in verification.findings} == {Tri.AFFIRMED}
    assert [finding.subject for finding in verification.findings] == list(Subject)
    assert verification.holds
    assert verification.text == ANSWER
    assert encode_bundle(GOOD) == DATA


@pytest.mark.parametrize("vector", VECTORS["refuted"], ids=lambda vector: str(vector["why"]))
def test_what_the_vectors_call_refuted_is_refuted_by_that_question(vector: dict[str, str]) -> None:
    verification = verify_bundle(decode_bundle(bytes.fromhex(vector["bytes"])))

    assert Subject(vector["question"]) in refuted(verification)
    assert not verification.holds


# ---------------------------------------------------------------- what was altered


@pytest.mark.slow
@given(place=st.integers(0, len(DATA) * 8 - 1))
@settings(max_examples=300, deadline=None)
def test_every_flipped_bit_is_refuted_or_leaves_no_bundle(place: int) -> None:
    data = bytearray(DATA)
    data[place // 8] ^= 1 << place % 8

    try:
        bundle = decode_bundle(bytes(data))
    except MalformedMessage:
        return
    assert not verify_bundle(bundle).holds


@pytest.mark.slow
def test_not_one_bit_of_it_can_be_flipped() -> None:
    passed: list[int] = []
    for place in range(len(DATA) * 8):
        data = bytearray(DATA)
        data[place // 8] ^= 1 << place % 8
        try:
            bundle = decode_bundle(bytes(data))
        except MalformedMessage:
            continue
        if verify_bundle(bundle).holds:
            passed.append(place)

    assert passed == []


@pytest.mark.parametrize(
    ("bundle", "subject", "says"),
    [
        (requoted(price=replace(samples.PRICE, completion=1)), Subject.MODEL, "at this price"),
        (requoted(expires=samples.NOW + 90_000), Subject.RECORD, "expired"),
        (requoted(worker_record=samples.PROXY_RECORD), Subject.RECORD, "another role"),
        (requoted(worker_statement=samples.PROXY_STATEMENT), Subject.KEYS, "not the one"),
        (requoted(ask_hash=bytes(32)), Subject.QUESTION, "another question"),
        (resettled(exchange=samples.OTHER_EXCHANGE), Subject.SETTLEMENT, "another exchange"),
        (resettled(outcome=Outcome.FAILED), Subject.RECEIPT, "another outcome"),
        (resettled(receipt=None), Subject.RECEIPT, "without a receipt"),
        (resettled(worker_amount=293), Subject.AMOUNT, "at_most=292 got=293"),
        (resettled(replace(samples.RECEIPT, amount=293)), Subject.AMOUNT, "expected=292"),
        (resettled(commission=8), Subject.COMMISSION, "at_most=292\\+7"),
        (resettled(client_charged=298), Subject.TOTALS, "total=298 charged=299"),
        (resettled(replace(samples.RECEIPT, weights_hash=bytes(32))), Subject.RECEIPT, "another model"),
        (resettled(replace(samples.RECEIPT, model="another")), Subject.MODEL, "no such model"),
        (resettled(replace(samples.RECEIPT, answer_hash=bytes(32))), Subject.ANSWER, "another answer"),
        (resettled(replace(samples.RECEIPT, quote_hash=bytes(32))), Subject.RECEIPT, "another exchange"),
    ],
)
def test_a_lie_under_true_signatures_is_refuted_where_it_was_told(
    bundle: Bundle, subject: Subject, says: str
) -> None:
    verification = verify_bundle(bundle)

    assert verification[subject].claim is Tri.REFUTED
    assert re.search(says, verification[subject].words), verification[subject].words
    assert not verification.holds


def rechunked(*usages: Usage, signed: bool = False, final: int = -1) -> Bundle:
    """Give the good bundle with chunks of these counts, sealed by nobody."""
    last = len(usages) - 1 if final < 0 else final
    meters = [sign(WORKER, NETWORK, replace(samples.METER, usage=usage)).signature for usage in usages]
    chunks = (
        SealedChunk(number == last, usage, bytes(80), meters[number] if signed else None)
        for number, usage in enumerate(usages)
    )
    return replace(GOOD, chunks=tuple(chunks))


WHOLE = samples.USAGES[1]


@pytest.mark.parametrize(
    ("bundle", "says"),
    [
        (rechunked(Usage(31, 8, 9, 0), WHOLE), "chunk 2: its usage falls"),
        (rechunked(Usage(30, 8, 1, 0), WHOLE), "chunk 2: another prompt"),
        (rechunked(Usage(31, 8, 1, 0), WHOLE, final=0), "chunk 1: final"),
        (rechunked(Usage(31, 8, 1, 0)), "not what was delivered"),
        (rechunked(Usage(31, 8, 9, 0)), "not what was delivered"),
        (replace(GOOD, chunks=(replace(GOOD.chunks[1], meter_signature=bytes(64)),)), "signature"),
    ],
)
def test_counts_that_contradict_each_other_are_refuted(bundle: Bundle, says: str) -> None:
    finding = verify_bundle(bundle)[Subject.COUNTS]

    assert finding.claim is Tri.REFUTED
    assert says in finding.words


def test_what_stands_on_a_paper_that_does_not_hold_is_unknown_and_not_affirmed() -> None:
    verification = verify_bundle(replace(GOOD, proxy=WORKER.peer_id))

    assert refuted(verification) == {Subject.QUOTE}
    assert {one.claim for one in verification.findings[1:]} == {Tri.UNKNOWN}


# ---------------------------------------------------------------- the answer


@pytest.mark.parametrize("kept", [ANSWER, ANSWER + "\n"])
def test_the_kept_answer_is_affirmed_whether_or_not_a_line_end_follows(kept: str) -> None:
    assert verify_bundle(GOOD, answer=kept).holds


@pytest.mark.slow
@given(kept=st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_another_answer_is_refuted(kept: str) -> None:
    verification = verify_bundle(GOOD, answer=kept)

    assert refuted(verification) == (set() if kept in (ANSWER, ANSWER + "\n") else {Subject.ANSWER})


def test_a_redacted_bundle_shows_the_bill_and_neither_answer_nor_limits() -> None:
    bundle = redact(GOOD)

    verification = verify_bundle(bundle)

    assert verification.holds
    assert verification.text is None
    assert verification[Subject.AMOUNT].claim is Tri.AFFIRMED
    assert verification[Subject.ANSWER].claim is Tri.AFFIRMED
    assert verification[Subject.QUESTION].claim is Tri.UNKNOWN
    for secret in (samples.ANSWER_KEY, samples.CHANNEL, b"silken"):
        assert secret not in encode_bundle(bundle)
    # An answer cannot be held against it, so with one it does not hold.
    assert not verify_bundle(bundle, answer=ANSWER).holds


def test_the_answers_key_opens_no_other_answer_and_no_request() -> None:
    client = samples.HANDSHAKE.finish(samples.ACCEPTED.accept, samples.ACCEPTED.signature, now=samples.NOW)
    client.next_request()
    other = client.next_request()
    part = client.seal_part(other, 0, True, samples.BINDING, b"a question")
    assert samples.ACCEPTED.session.open_part(other, 0, True, samples.BINDING, part) == b"a question"
    sealed = samples.ACCEPTED.session.seal_chunk(other, 0, True, WHOLE, b"an answer")

    key = client.answer_key(0)

    assert key == samples.ANSWER_KEY
    assert open_answer_chunk(client.answer_key(other), 0, True, WHOLE, sealed) == b"an answer"
    for piece in (sealed, part, samples.PARTS[0].sealed):
        with pytest.raises(SealBroken):
            open_answer_chunk(key, 0, True, WHOLE, piece)


# ---------------------------------------------------------------- what broke off


def test_the_meter_of_a_worker_that_vanished_stands_for_its_receipt() -> None:
    verification = verify_bundle(broken_off(meter=samples.USAGES[0]))

    assert verification.holds
    assert verification[Subject.AMOUNT].words.startswith("60 nanoTON")
    assert verification[Subject.RECEIPT].claim is Tri.AFFIRMED
    # It opens, but nobody signed a hash of it.
    assert verification[Subject.ANSWER].claim is Tri.UNKNOWN
    assert verification.text == ANSWER
    assert not verify_bundle(broken_off(meter=samples.USAGES[0]), answer=ANSWER).holds


def test_a_meter_above_what_was_delivered_is_refuted() -> None:
    assert Subject.COUNTS in refuted(verify_bundle(broken_off(meter=Usage(31, 8, 9, 0))))


def test_without_receipt_and_meter_nothing_may_be_charged() -> None:
    bundle = broken_off(meter=None)

    assert verify_bundle(bundle).holds
    assert verify_bundle(bundle)[Subject.RECEIPT].claim is Tri.UNKNOWN
    charged = replace(samples.SETTLEMENT, outcome=Outcome.FAILED, receipt=None)
    charged_bundle = replace(bundle, settlement=sign(PROXY, NETWORK, charged))
    assert Subject.AMOUNT in refuted(verify_bundle(charged_bundle))


def test_an_exchange_that_was_cancelled_before_its_first_chunk_has_an_empty_answer() -> None:
    receipt = replace(
        samples.RECEIPT,
        usage=Usage(31, 8, 0, 0),
        amount=132,
        answer_hash=hashlib.sha256().digest(),
        outcome=Outcome.CANCELLED,
    )
    bundle = resettled(receipt, worker_amount=132, commission=3, outcome=Outcome.CANCELLED)

    verification = verify_bundle(replace(bundle, chunks=()), answer="")

    assert verification.holds
    assert verification[Subject.ANSWER].claim is Tri.AFFIRMED


def test_chunks_that_were_not_kept_leave_counts_and_answer_unknown() -> None:
    verification = verify_bundle(replace(GOOD, chunks=()))

    assert verification.holds
    assert verification[Subject.COUNTS].claim is verification[Subject.ANSWER].claim is Tri.UNKNOWN


def test_a_model_is_found_by_its_name_where_two_have_one_price() -> None:
    twins = (replace(samples.OFFER, name="another", weights_hash=bytes(32)), samples.OFFER)
    record = make_record(
        WORKER,
        NETWORK,
        role=Role.WORKER,
        statement=samples.WORKER_STATEMENT,
        addresses=(),
        models=twins,
        now=samples.NOW,
        sequence=8,
    )
    bundle = replace(requoted(worker_record=record), evidence=None)

    verification = verify_bundle(bundle, answer=ANSWER)

    assert verification.holds
    assert verification.offer == samples.OFFER
    assert verification[Subject.EVIDENCE].words.startswith("the worker named none")
    # Without a receipt the question tells; without both, only the price is known.
    failed = replace(
        samples.SETTLEMENT,
        quote_hash=paper_hash(bundle.quote),
        outcome=Outcome.FAILED,
        worker_amount=0,
        commission=0,
        receipt=None,
    )
    broken = replace(bundle, settlement=sign(PROXY, NETWORK, failed))
    assert verify_bundle(broken).offer == samples.OFFER
    assert verify_bundle(replace(broken, ask=None)).offer == twins[0]
    assert verify_bundle(replace(broken, ask=None)).holds


# ---------------------------------------------------------------- the question


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"exchange": samples.OTHER_EXCHANGE}, "another question"),
        ({"model": "another"}, "another model"),
        ({"weights_hash": bytes(32)}, "other weights"),
        ({"max_cost": 298}, "limit=298 charged=299"),
    ],
)
def test_a_question_whose_terms_were_not_kept_is_refuted(changes: dict[str, Any], says: str) -> None:
    ask = replace(samples.ASK, **changes)
    bundle = replace(requoted(ask_hash=message_hash(ask)), ask=encode_message(ask))

    verification = verify_bundle(bundle)

    assert refuted(verification) == {Subject.QUESTION}
    assert says in verification[Subject.QUESTION].words


def test_a_message_that_is_no_question_is_refuted() -> None:
    other = encode_message(samples.MESSAGES[2])
    bundle = replace(requoted(ask_hash=hashlib.sha256(other).digest()), ask=other)

    assert refuted(verify_bundle(bundle)) == {Subject.QUESTION}


def test_pinned_weights_that_were_kept_are_named() -> None:
    ask = replace(samples.ASK, weights_hash=samples.OFFER.weights_hash)
    bundle = replace(requoted(ask_hash=message_hash(ask)), ask=encode_message(ask))

    assert "these weights and no others" in verify_bundle(bundle)[Subject.QUESTION].words


# ---------------------------------------------------------------- what no chunk brought


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": Outcome.COMPLETED, "usage": Usage(31, 8, 0, 0), "amount": 132},
        {"outcome": Outcome.CANCELLED, "usage": Usage(31, 8, 1, 0), "amount": 152},
        {"outcome": Outcome.CANCELLED, "usage": Usage(31, 8, 0, 1), "amount": 152},
    ],
)
def test_tokens_that_no_chunk_brought_are_refuted(changes: dict[str, Any]) -> None:
    receipt = replace(samples.RECEIPT, answer_hash=hashlib.sha256().digest(), **changes)
    bundle = resettled(receipt, worker_amount=changes["amount"], commission=0, outcome=changes["outcome"])

    assert refuted(verify_bundle(replace(bundle, chunks=()))) == {Subject.COUNTS}


def test_an_answer_that_was_sealed_without_its_end_is_refuted() -> None:
    client = samples.HANDSHAKE.finish(samples.ACCEPTED.accept, samples.ACCEPTED.signature, now=samples.NOW)
    worker = samples.ACCEPTED.session
    sealed = worker.seal_chunk(900, 0, True, WHOLE, encode_answer(samples.ANSWERS[0]))
    receipt = replace(samples.RECEIPT, answer_hash=hashlib.sha256(sealed).digest())

    bundle = replace(
        resettled(receipt),
        chunks=(SealedChunk(True, WHOLE, sealed),),
        answer_key=client.answer_key(900),
    )

    assert refuted(verify_bundle(bundle)) == {Subject.ANSWER}


# ---------------------------------------------------------------- bounds


@pytest.mark.slow
def test_a_bundle_of_too_many_chunks_is_neither_read_nor_written() -> None:
    chunk = SealedChunk(False, WHOLE, b"")
    most = (chunk,) * BUNDLE_CHUNKS_MAX
    body = cbor2.loads(encode_bundle(replace(GOOD, chunks=most)))
    body[6].append(body[6][0])

    with pytest.raises(LocalProtocolError, match=r"Bundle\.chunks"):
        encode_bundle(replace(GOOD, chunks=(*most, chunk)))
    with pytest.raises(MalformedMessage, match=r"Bundle\.chunks"):
        decode_bundle(cbor2.dumps(body))


@pytest.mark.slow
def test_as_many_of_the_shortest_chunks_as_are_kept_fit_a_bundle() -> None:
    longest = Usage(2**63 - 1, 2**63 - 1, 2**63 - 1, 2**63 - 1)
    chunk = SealedChunk(False, longest, bytes(80), bytes(64))
    evidence = bytes(192 * 1024)
    paper = replace(GOOD.quote, body=bytes(64 * 1024))
    count = BUNDLE_CHUNKS_SIZE_MAX_BYTES // 80

    bundle = replace(
        GOOD, chunks=(chunk,) * count, evidence=evidence, quote=paper, settlement=paper, ask=bytes(16384)
    )

    assert len(encode_bundle(bundle)) <= BUNDLE_SIZE_MAX_BYTES


def test_a_longer_bundle_is_neither_read_nor_written() -> None:
    chunk = SealedChunk(False, WHOLE, bytes(64 * 1024))

    with pytest.raises(LocalProtocolError, match="bundle: too long"):
        encode_bundle(replace(GOOD, chunks=(chunk,) * 200))
    with pytest.raises(MalformedMessage, match="bundle: too long"):
        decode_bundle(bytes(BUNDLE_SIZE_MAX_BYTES + 1))


def test_another_format_is_named() -> None:
    with pytest.raises(MalformedMessage, match="got='cocoon-receipt/2'"):
        decode_bundle(encode_bundle(replace(GOOD, format="cocoon-receipt/2")))
