from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from cocoon_p2p.errors import LocalProtocolError, SealBroken
from cocoon_p2p.protocols.ids import PARTS_MAX, REPLAY_WINDOW, Trust
from cocoon_p2p.protocols.messages import ExchangeId, Usage
from cocoon_p2p.sealing import RequestBinding, Session
from cocoon_p2p.sealing.session import derive
from tests.sealing.line import BINDING, DEMO, MAIN, USAGE, secret, sessions


def sealed_parts(client: Session, *texts: bytes) -> list[bytes]:
    """Seal one request of several parts."""
    request = client.next_request()
    return [
        client.seal_part(request, part, part == len(texts) - 1, BINDING, text)
        for part, text in enumerate(texts)
    ]


def sealed_chunks(worker: Session, request: int, *texts: bytes) -> list[bytes]:
    """Seal one whole answer."""
    return [
        worker.seal_chunk(request, number, number == len(texts) - 1, USAGE, text)
        for number, text in enumerate(texts)
    ]


# ---------------------------------------------------------------- what works


@pytest.mark.slow
@given(texts=st.lists(st.binary(max_size=100), min_size=1, max_size=6))
@settings(deadline=None)
def test_parts_and_chunks_open_in_order_to_what_was_sealed(texts: list[bytes]) -> None:
    client, worker = sessions()
    last = len(texts) - 1

    parts = sealed_parts(client, *texts)
    assert [worker.open_part(0, i, i == last, BINDING, part) for i, part in enumerate(parts)] == texts
    chunks = sealed_chunks(worker, 0, *texts)
    assert [client.open_chunk(0, i, i == last, USAGE, chunk) for i, chunk in enumerate(chunks)] == texts


def test_a_request_that_was_opened_can_be_answered_whatever_numbers_are_answered_first() -> None:
    client, worker = sessions()
    early = sealed_parts(client, b"early")[0]
    for _ in range(2 * REPLAY_WINDOW):
        client.next_request()
    late = sealed_parts(client, b"late")[0]
    worker.open_part(0, 0, True, BINDING, early)
    worker.open_part(2 * REPLAY_WINDOW + 1, 0, True, BINDING, late)

    sealed_chunks(worker, 2 * REPLAY_WINDOW + 1, b"answer")
    sealed_chunks(worker, 0, b"answer", b"more")

    with pytest.raises(LocalProtocolError, match="not the next to seal"):
        worker.seal_chunk(0, 0, False, USAGE, b"again")


def test_answers_that_were_broken_off_crowd_out_none_that_runs() -> None:
    client, worker = sessions()
    for request in range(REPLAY_WINDOW + 2):
        worker.open_part(request, 0, True, BINDING, sealed_parts(client, b"ask")[0])
        worker.seal_chunk(request, 0, False, USAGE, b"begun")
        if request:
            worker.break_off(request)

    worker.seal_chunk(0, 1, True, USAGE, b"still here")

    with pytest.raises(LocalProtocolError, match="not the next to seal"):
        worker.seal_chunk(1, 1, True, USAGE, b"broken off")


def test_requests_may_arrive_in_any_order_and_answers_interleave() -> None:
    client, worker = sessions()
    parts = [sealed_parts(client, b"request %d" % request)[0] for request in range(5)]

    for request in (3, 0, 4, 1, 2):
        assert worker.open_part(request, 0, True, BINDING, parts[request]) == b"request %d" % request
    first, second = sealed_chunks(worker, 0, b"a", b"b"), sealed_chunks(worker, 1, b"c", b"d")
    assert client.open_chunk(1, 0, False, USAGE, second[0]) == b"c"
    assert client.open_chunk(0, 0, False, USAGE, first[0]) == b"a"
    assert client.open_chunk(1, 1, True, USAGE, second[1]) == b"d"
    assert client.open_chunk(0, 1, True, USAGE, first[1]) == b"b"


def test_the_construction_is_the_one_of_the_written_protocol() -> None:
    """Computed here again with libsodium's BLAKE2b, by the words of protocols/sealing.md."""
    client = Session(secret("id")[:16], expires=0, root=secret("root"), network=MAIN)
    sealed = [client.seal_part(7, part, part == 1, BINDING, b"hello") for part in (0, 1)][1]

    key = bindings.crypto_generichash_blake2b_salt_personal(
        b"cocoon/sealing/1/request\0" + MAIN + secret("id")[:16] + (7).to_bytes(8, "big"),
        digest_size=32,
        key=secret("root"),
        person=b"cocoon-sealing-1",
    )
    data = b"\x01" + BINDING.exchange + BINDING.quote_hash + (1_000_000).to_bytes(8, "big") + b"\x03"
    assert sealed == bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        b"hello", data, (1).to_bytes(24, "big"), key
    )


def test_keys_differ_by_purpose_network_and_context() -> None:
    keys = {
        derive(secret(root), purpose, network, context)
        for root in ("a", "b")
        for purpose in ("request", "answer", "root")
        for network in (MAIN, DEMO)
        for context in (b"", b"\0")
    }

    assert len(keys) == 24


# ---------------------------------------------------------------- what a proxy may try with a request


def test_a_replayed_request_does_not_open() -> None:
    client, worker = sessions()
    (part,) = sealed_parts(client, b"hello")
    worker.open_part(0, 0, True, BINDING, part)

    with pytest.raises(SealBroken, match="seen before or out of order"):
        worker.open_part(0, 0, True, BINDING, part)


def test_a_request_under_another_number_does_not_open_and_the_right_one_still_does() -> None:
    client, worker = sessions()
    (part,) = sealed_parts(client, b"hello")

    with pytest.raises(SealBroken, match="altered"):
        worker.open_part(77, 0, True, BINDING, part)
    assert worker.open_part(0, 0, True, BINDING, part) == b"hello"


@pytest.mark.parametrize(
    "edited",
    [
        replace(BINDING, exchange=ExchangeId(bytes(16))),
        replace(BINDING, quote_hash=bytes(32)),
        replace(BINDING, max_cost=BINDING.max_cost + 1),
        replace(BINDING, trust=Trust.OPEN),
    ],
    ids=["exchange", "quote", "max cost", "trust"],
)
def test_an_edited_binding_does_not_open(edited: RequestBinding) -> None:
    client, worker = sessions()
    (part,) = sealed_parts(client, b"hello")

    with pytest.raises(SealBroken, match="altered"):
        worker.open_part(0, 0, True, edited, part)


def test_a_request_of_another_session_does_not_open() -> None:
    (part,) = sealed_parts(sessions("one")[0], b"hello")
    _, worker = sessions("two")

    with pytest.raises(SealBroken, match="altered"):
        worker.open_part(0, 0, True, BINDING, part)


def test_a_request_shown_as_an_answer_does_not_open() -> None:
    client, _ = sessions()
    (part,) = sealed_parts(client, b"hello")

    with pytest.raises(SealBroken, match="altered"):
        client.open_chunk(0, 0, True, USAGE, part)


def test_a_request_cut_short_does_not_pass_for_a_whole_one() -> None:
    client, worker = sessions()
    first, _, _ = sealed_parts(client, b"do not", b"delete", b"everything")

    with pytest.raises(SealBroken, match="altered"):
        worker.open_part(0, 0, True, BINDING, first)


def test_a_dropped_or_reordered_part_is_found_out() -> None:
    client, worker = sessions()
    first, second, third = sealed_parts(client, b"a", b"b", b"c")
    worker.open_part(0, 0, False, BINDING, first)

    with pytest.raises(SealBroken, match=r"out of order \(request=0 position=2\)"):
        worker.open_part(0, 2, True, BINDING, third)
    with pytest.raises(SealBroken, match="altered"):
        worker.open_part(0, 1, True, BINDING, third)
    with pytest.raises(SealBroken, match="out of order"):
        worker.open_part(0, 0, False, BINDING, first)
    assert worker.open_part(0, 1, False, BINDING, second) == b"b"


def test_a_part_of_one_request_does_not_open_in_another() -> None:
    client, worker = sessions()
    one, two = sealed_parts(client, b"a", b"b"), sealed_parts(client, b"c", b"d")
    worker.open_part(0, 0, False, BINDING, one[0])
    worker.open_part(1, 0, False, BINDING, two[0])

    with pytest.raises(SealBroken, match="altered"):
        worker.open_part(0, 1, True, BINDING, two[1])


def test_a_request_that_begins_in_the_middle_does_not_open() -> None:
    client, worker = sessions()
    _, second = sealed_parts(client, b"a", b"b")

    with pytest.raises(SealBroken, match="out of order"):
        worker.open_part(0, 1, True, BINDING, second)


def test_nothing_follows_the_final_part() -> None:
    client, worker = sessions()
    (part,) = sealed_parts(client, b"a")
    worker.open_part(0, 0, True, BINDING, part)

    with pytest.raises(SealBroken, match="out of order"):
        worker.open_part(0, 1, True, BINDING, part)


def test_a_forged_request_with_a_high_number_uses_no_numbers_up() -> None:
    client, worker = sessions()
    (part,) = sealed_parts(client, b"hello")

    with pytest.raises(SealBroken, match="altered"):
        worker.open_part(2**60, 0, True, BINDING, bytes(40))
    assert worker.open_part(0, 0, True, BINDING, part) == b"hello"


def test_a_request_older_than_the_window_does_not_open() -> None:
    client, worker = sessions()
    parts = [sealed_parts(client, b"hello")[0] for _ in range(REPLAY_WINDOW + 1)]
    worker.open_part(REPLAY_WINDOW, 0, True, BINDING, parts[REPLAY_WINDOW])

    assert worker.open_part(1, 0, True, BINDING, parts[1]) == b"hello"
    with pytest.raises(SealBroken, match="seen before"):
        worker.open_part(0, 0, True, BINDING, parts[0])


@pytest.mark.parametrize(("request_number", "part"), [(-1, 0), (2**63, 0), (0, -1), (0, PARTS_MAX)])
def test_numbers_outside_the_protocol_do_not_open(request_number: int, part: int) -> None:
    _, worker = sessions()

    with pytest.raises(SealBroken):
        worker.open_part(request_number, part, True, BINDING, bytes(40))


# ---------------------------------------------------------------- what a proxy may try with an answer


def answer(*texts: bytes) -> tuple[Session, list[bytes]]:
    """Seal an answer to request 0, and give the client's half of the session."""
    client, worker = sessions()
    return client, sealed_chunks(worker, 0, *texts)


def test_a_dropped_first_chunk_is_found_out() -> None:
    client, chunks = answer(b"a", b"b", b"c")

    with pytest.raises(SealBroken, match="out of order"):
        client.open_chunk(0, 1, False, USAGE, chunks[1])
    with pytest.raises(SealBroken, match="altered"):
        client.open_chunk(0, 0, False, USAGE, chunks[1])


def test_a_reordered_chunk_is_found_out() -> None:
    client, chunks = answer(b"a", b"b", b"c", b"d")
    client.open_chunk(0, 0, False, USAGE, chunks[0])

    with pytest.raises(SealBroken, match="out of order"):
        client.open_chunk(0, 2, False, USAGE, chunks[2])
    with pytest.raises(SealBroken, match="altered"):
        client.open_chunk(0, 1, False, USAGE, chunks[2])
    assert client.open_chunk(0, 1, False, USAGE, chunks[1]) == b"b"


def test_an_answer_cut_short_does_not_pass_for_a_whole_one() -> None:
    client, chunks = answer(b"no,", b" never")

    with pytest.raises(SealBroken, match="altered"):
        client.open_chunk(0, 0, True, USAGE, chunks[0])


def test_nothing_follows_the_final_chunk() -> None:
    client, chunks = answer(b"a", b"b")
    client.open_chunk(0, 0, False, USAGE, chunks[0])
    client.open_chunk(0, 1, True, USAGE, chunks[1])

    for number, chunk in ((0, chunks[0]), (1, chunks[1]), (2, chunks[1])):
        with pytest.raises(SealBroken, match="out of order"):
            client.open_chunk(0, number, number == 1, USAGE, chunk)


def test_the_answer_to_one_request_is_not_that_to_another() -> None:
    client, chunks = answer(b"a")

    with pytest.raises(SealBroken, match="altered"):
        client.open_chunk(1, 0, True, USAGE, chunks[0])


@pytest.mark.parametrize("field", ["prompt", "cached", "completion", "reasoning"])
def test_an_edited_count_does_not_open(field: str) -> None:
    client, chunks = answer(b"a")
    edited = replace(USAGE, **{field: getattr(USAGE, field) + 1})

    with pytest.raises(SealBroken, match="altered"):
        client.open_chunk(0, 0, True, edited, chunks[0])


def test_counts_that_add_up_to_the_same_do_not_open_either() -> None:
    client, chunks = answer(b"a")

    with pytest.raises(SealBroken, match="altered"):
        client.open_chunk(0, 0, True, Usage(3, 0, 12, 0), chunks[0])


@given(place=st.integers(0, 200), bit=st.integers(0, 7))
def test_one_flipped_bit_does_not_open(place: int, bit: int) -> None:
    client, (chunk,) = answer(b"a" * 64)
    altered = bytearray(chunk)
    altered[place % len(altered)] ^= 1 << bit

    with pytest.raises(SealBroken, match="altered"):
        client.open_chunk(0, 0, True, USAGE, bytes(altered))


@given(sealed=st.binary(max_size=100))
def test_random_bytes_break_the_seal_and_nothing_else(sealed: bytes) -> None:
    client, worker = sessions()

    with pytest.raises(SealBroken):
        client.open_chunk(0, 0, True, USAGE, sealed)
    with pytest.raises(SealBroken):
        worker.open_part(0, 0, True, BINDING, sealed)


# ---------------------------------------------------------------- whatever the order


@pytest.mark.slow
@given(
    lengths=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    order=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=30),
)
@settings(deadline=None)
def test_however_parts_arrive_each_opens_once_and_after_the_one_before_it(
    lengths: list[int], order: list[tuple[int, int, bool]]
) -> None:
    client, worker = sessions()
    requests = [sealed_parts(client, *(b"%d" % part for part in range(length))) for length in lengths]
    next_part = [0] * len(lengths)

    for request, part, tells_the_truth in order:
        if request >= len(lengths) or part >= lengths[request]:
            continue
        final = (part == lengths[request] - 1) == tells_the_truth
        if tells_the_truth and part == next_part[request]:
            assert worker.open_part(request, part, final, BINDING, requests[request][part]) == b"%d" % part
            next_part[request] += 1
        else:
            with pytest.raises(SealBroken):
                worker.open_part(request, part, final, BINDING, requests[request][part])


@pytest.mark.slow
def test_requests_that_nobody_ends_do_not_pile_up() -> None:
    client, worker = sessions()
    begun = [
        client.seal_part(client.next_request(), 0, False, BINDING, b"") for _ in range(REPLAY_WINDOW + 10)
    ]

    for request, part in enumerate(begun):
        worker.open_part(request, 0, False, BINDING, part)

    assert len(worker._requests._running) == REPLAY_WINDOW
    newest = REPLAY_WINDOW + 9
    goes_on = client.seal_part(newest, 1, True, BINDING, b"on")
    assert worker.open_part(newest, 1, True, BINDING, goes_on) == b"on"


# ---------------------------------------------------------------- our own faults


def test_a_position_is_sealed_once() -> None:
    client, worker = sessions()
    client.seal_part(0, 0, False, BINDING, b"a")

    for request, part in ((0, 0), (0, 2), (1, 1)):
        with pytest.raises(LocalProtocolError, match="not the next to seal"):
            client.seal_part(request, part, False, BINDING, b"another text under the same nonce")
    client.seal_part(0, 1, True, BINDING, b"b")
    for part in (0, 1, 2):
        with pytest.raises(LocalProtocolError, match="not the next to seal"):
            client.seal_part(0, part, True, BINDING, b"c")
    worker.seal_chunk(0, 0, True, USAGE, b"a")
    with pytest.raises(LocalProtocolError, match="not the next to seal"):
        worker.seal_chunk(0, 0, True, USAGE, b"b")


def test_the_numbers_of_requests_are_given_once() -> None:
    client, _ = sessions()

    assert [client.next_request() for _ in range(4)] == [0, 1, 2, 3]
