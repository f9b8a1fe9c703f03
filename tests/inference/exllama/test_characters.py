"""From tokens to an answer: whole characters, nothing taken back, and each token counted with its text."""

import codecs
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.engine import Finish, Piece
from cocoon_p2p.inference.exllama.banning import Burst, HeldBursts
from cocoon_p2p.inference.exllama.characters import Characters
from cocoon_p2p.inference.exllama.generator import Order, Step
from cocoon_p2p.inference.exllama.thread import Job
from cocoon_p2p.inference.pipe import Pipe
from cocoon_p2p.inference.text import first_complete

SPELLED = (
    "a",
    "b",
    "ab",
    "я",
    "🦋".encode()[:1],
    "🦋".encode()[1:3],
    "🦋".encode()[3:],
    b"\xff",
    "aя".encode()[:2],
    "",
)
"What a token of each number spells."

TOKENS = st.lists(st.integers(0, len(SPELLED) - 1), max_size=16).map(tuple)
STRINGS = st.lists(st.text("abя", min_size=1, max_size=3), max_size=2).map(tuple)


def spelled(token: int) -> bytes:
    each = SPELLED[token]
    return each if isinstance(each, bytes) else each.encode()


def bursts_of(tokens: tuple[int, ...]) -> list[Burst]:
    characters, bursts = Characters(), list[Burst]()
    for token in tokens:
        characters, burst = characters.take(token, spelled(token))
        bursts.append(burst)
    return [burst for burst in (*bursts, characters.end()) if burst.tokens]


def whole_text(tokens: tuple[int, ...]) -> str:
    return codecs.utf_8_decode(b"".join(map(spelled, tokens)), "replace", False)[0]


def test_a_byte_that_is_no_text_holds_nothing_back() -> None:
    assert bursts_of((7, 0, 7, 7, 1)) == [
        Burst("�", (7,)), Burst("a", (0,)), Burst("�", (7,)), Burst("�", (7,)), Burst("b", (1,)),
    ]  # fmt: skip


def test_an_unfinished_character_at_the_end_is_left_out_with_its_tokens() -> None:
    assert bursts_of((0, 4, 5)) == [Burst("a", (0,))]
    # Its first half is text.
    assert bursts_of((8,)) == [Burst("a", (8,))]
    assert bursts_of((0, 4, 5, 6)) == [Burst("a", (0,)), Burst("🦋", (4, 5, 6))]


@given(TOKENS)
def test_the_text_is_what_the_tokens_spell_as_far_as_it_is_whole(tokens: tuple[int, ...]) -> None:
    bursts = bursts_of(tokens)
    given_tokens = tuple(token for burst in bursts for token in burst.tokens)

    assert "".join(burst.text for burst in bursts) == whole_text(tokens)
    assert given_tokens == tokens[: len(given_tokens)]
    assert len(tokens) - len(given_tokens) <= 3 + tokens.count(SPELLED.index(""))


class Kept(Pipe[Piece]):
    """Keeps what is offered."""

    def __init__(self) -> None:
        self.pieces = list[Piece]()

    def offer(self, item: Piece) -> bool:
        self.pieces.append(item)
        return True


@given(TOKENS, STRINGS, STRINGS, st.booleans())
def test_each_token_counts_with_its_text_and_the_end_token_with_the_end(
    tokens: tuple[int, ...], banned: tuple[str, ...], stop: tuple[str, ...], stops: bool
) -> None:
    kept = Kept()
    job = Job(Order((1,), 99, 0.0, 1.0, None, False, b""), stop, cast(Pipe[Piece], kept), lambda: None)
    held, said, count = HeldBursts(banned), list[Burst](), 0
    for burst in bursts_of(tokens):
        held, some, unsaid = held.take(burst)
        said += some
        if unsaid:
            break
    said += held.bursts
    is_over = False
    for burst in said:
        count += len(burst.tokens)
        is_over = is_over or job.take(Step(1, text=burst.text, tokens=count))
    if not is_over:
        job.take(Step(1, tokens=count + stops, finish=Finish.STOP if stops else Finish.LENGTH))

    all_said = "".join(burst.text for burst in said)
    cut = first_complete(all_said, stop)
    last = kept.pieces[-1]
    counts = [piece.completion_tokens for piece in kept.pieces]
    assert "".join(piece.text for piece in kept.pieces) == all_said[:cut]
    assert not any(string in all_said for string in banned)
    assert counts == sorted(counts)
    assert [piece.finish is None for piece in kept.pieces[:-1]] == [True] * (len(counts) - 1)
    if cut is None:
        assert (last.completion_tokens, last.finish) == (
            count + stops,
            Finish.STOP if stops else Finish.LENGTH,
        )
        return
    ends, end = list[tuple[int, int, int]](), 0
    for burst in said:
        ends.append((end, end + len(burst.text), len(burst.tokens)))
        end += len(burst.text)
    least = sum(size for start, _, size in ends if start < cut)
    most = sum(size for start, end, size in ends if start < cut or end <= cut)
    assert least - sum(size for start, end, size in ends if start == end) <= last.completion_tokens <= most
    assert last.finish is Finish.STOP
