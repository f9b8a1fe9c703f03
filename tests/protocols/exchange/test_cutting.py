"""However an engine's pieces come, chunks carry all of them, in order, whole, and fit the wire."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.protocols.contents import AnswerContent, FinishReason, encode_answer
from cocoon_p2p.protocols.exchange.answer import Answer, Draft, bids, grow, take
from cocoon_p2p.protocols.exchange.cutting import join, size_of, split
from cocoon_p2p.protocols.ids import (
    ANSWER_TEXT_MAX_BYTES,
    ARGUMENTS_MAX_BYTES,
    CHUNK_SIZE_MAX_BYTES,
    CHUNK_TOKENS,
    LOGPROB_MICRO_MAX,
    LOGPROBS_MAX,
    SEAL_SIZE_BYTES,
    VECTOR_MAX_BYTES,
)
from cocoon_p2p.protocols.messages import Price, Usage
from cocoon_p2p.protocols.wishes import Likelihood, TokenLogprob, ToolCall
from cocoon_p2p.units import Nano

SIZES = st.sampled_from((0, 1, 40, 255, 4_000, VECTOR_MAX_BYTES))
CALLS = st.builds(
    lambda name, size: ToolCall(name, name, "é" * (size // 2)), st.text("ab", min_size=1, max_size=64), SIZES
)
LIKELIHOODS = st.builds(
    lambda size, micro: Likelihood(b"t" * min(size, 512), micro),
    SIZES,
    st.sampled_from((0, LOGPROB_MICRO_MAX)),
)
LOGPROBS = st.builds(TokenLogprob, LIKELIHOODS, st.lists(LIKELIHOODS, max_size=LOGPROBS_MAX).map(tuple))
VECTORS = SIZES.map(lambda size: b"v" * size)


def some(items: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(items, max_size=4).map(tuple)


CONTENTS = st.builds(
    lambda text, times, calls, logprobs, vectors, more: AnswerContent(
        text * times, None, calls, logprobs, vectors * more
    ),
    st.text("aé🐛", max_size=3),
    st.sampled_from((1, 1, 1, 10_000, 30_000)),
    some(CALLS),
    some(LOGPROBS),
    some(VECTORS),
    st.sampled_from((1, 1, 40)),
)


def fits(content: AnswerContent) -> bool:
    return len(encode_answer(content)) + SEAL_SIZE_BYTES <= CHUNK_SIZE_MAX_BYTES


@given(CONTENTS)
@settings(deadline=None)
def test_a_piece_cut_again_and_again_is_all_there_and_every_part_of_it_fits_a_chunk(
    content: AnswerContent,
) -> None:
    heads, rest = list[AnswerContent](), content
    while size_of(rest) > ANSWER_TEXT_MAX_BYTES:
        head, rest = split(rest, ANSWER_TEXT_MAX_BYTES)
        assert size_of(head) > 0
        heads.append(head)

    assert all(map(fits, (*heads, rest)))
    assert join((*heads, rest)) == content


def test_the_largest_of_each_thing_fits_a_chunk() -> None:
    likely = Likelihood(b"t" * 512, LOGPROB_MICRO_MAX)
    largest = (
        AnswerContent("", calls=(ToolCall("i" * 64, "n" * 64, "a" * ARGUMENTS_MAX_BYTES),)),
        AnswerContent("", logprobs=(TokenLogprob(likely, (likely,) * LOGPROBS_MAX),)),
        AnswerContent("", vectors=(bytes(VECTOR_MAX_BYTES),)),
    )

    for content in largest:
        assert size_of(content) <= ANSWER_TEXT_MAX_BYTES
        assert fits(content)


def test_as_many_of_the_smallest_things_as_there_is_room_for_can_be_spelled() -> None:
    for content in (
        AnswerContent("", vectors=(b"",) * 9_000),
        AnswerContent("", calls=(ToolCall("", "", ""),) * 9_000),
    ):
        head, _ = split(content, ANSWER_TEXT_MAX_BYTES)

        assert fits(head)


def drafts_of(contents: list[AnswerContent], covered: int | None) -> list[Draft]:
    """Let an engine say all this, a token each, while credit covers so many tokens at a time."""
    answer = Answer(Usage(10, 0, 0, 0), Price(0, 0, 1000, 1000), Nano(10**9))
    for made, content in enumerate(contents, 1):
        answer = grow(answer, content, made=made, prefilled=10)
    drafts: list[Draft] = []
    while answer.due is not None and (not drafts or drafts[-1].content.finish is None):
        lowest, *_ = ascending = bids(answer)
        amount = ascending[-1] if covered is None else max(lowest, Nano(answer.sent_tokens + covered))
        answer, draft = take(answer, amount, 0.0)
        drafts.append(draft)
    return drafts


@given(st.lists(CONTENTS, min_size=1, max_size=5), st.none() | st.integers(0, 3))
@settings(deadline=None, max_examples=50)
def test_whatever_an_engine_says_is_delivered_once_in_order_and_counted_with_its_end(
    contents: list[AnswerContent], covered: int | None
) -> None:
    said = [*contents[:-1], replace(contents[-1], finish=FinishReason.STOP)]

    drafts = drafts_of(said, covered)

    assert all(fits(draft.content) for draft in drafts)
    assert join(replace(one.content, finish=None) for one in drafts) == join(contents)
    assert [draft.number for draft in drafts] == list(range(len(drafts)))
    assert [one.content.finish is None for one in drafts] == [True] * (len(drafts) - 1) + [False]
    counts = [draft.usage.completion for draft in drafts]
    assert counts == sorted(counts)
    assert counts[-1] == len(contents)
    for before, after in pairwise(range(len(drafts))):
        # A token is counted no sooner than all that came with it has been sent.
        sent = join(drafts[at].content for at in range(after))
        counted = join(said[: drafts[before].usage.completion])
        assert size_of(sent) >= size_of(counted)


def test_of_a_piece_that_no_window_covers_some_tokens_go_before_it_with_each_chunk() -> None:
    answer = Answer(Usage(10, 0, 0, 0), Price(0, 0, 1000, 1000), Nano(10**9))
    answer = grow(answer, AnswerContent("a long call", FinishReason.STOP), made=20, prefilled=10)
    drafts: list[Draft] = []
    while not drafts or drafts[-1].content.finish is None:
        window = CHUNK_TOKENS if len(drafts) < 2 else 2
        assert bids(answer)[0] == answer.sent_tokens + 1
        answer, draft = take(answer, Nano(answer.sent_tokens + window), 0.0)
        drafts.append(draft)

    assert [(draft.content.text, draft.usage.completion) for draft in drafts] == [
        ("", 8),
        ("", 16),
        ("", 17),
        ("", 18),
        ("a long call", 20),
    ]


def test_an_embedding_is_delivered_without_one_completion_token() -> None:
    answer = Answer(Usage(10, 0, 0, 0), Price(1000, 0, 1000, 1000), Nano(10))
    answer = grow(answer, AnswerContent("", vectors=(b"one",)), made=0, prefilled=10)
    answer = grow(answer, AnswerContent("", FinishReason.STOP, vectors=(b"two",)), made=0, prefilled=10)

    _, draft = take(answer, bids(answer)[-1], 0.0)

    assert draft.content == AnswerContent("", FinishReason.STOP, vectors=(b"one", b"two"))
    assert draft.usage == Usage(10, 0, 0, 0)
    assert bids(answer) == (10, 10)
