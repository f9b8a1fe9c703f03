"""What is asked for after an answer broke off: one text, one count, no stop string through a seam."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.client.bounds import prompt_tokens_bound
from cocoon_p2p.client.continuation import Progress, obstacle, resumed
from cocoon_p2p.client.policy import Policy
from cocoon_p2p.client.request import Request, build_ask, build_request, is_plain_text
from cocoon_p2p.client.seam import seam_after
from cocoon_p2p.client.wishes import Wishes
from cocoon_p2p.inference.text import AnswerText
from cocoon_p2p.protocols.contents import AnswerContent, ChatTurn, FinishReason
from cocoon_p2p.protocols.exchange.terms import Rules, Terms, judge_quote
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId, Usage
from cocoon_p2p.protocols.wishes import Audio
from cocoon_p2p.testing.papers import make_deal, paper_identity, paper_worker
from cocoon_p2p.units import Nano
from tests.client.scene import EPOCH, NETWORK

PROMPT = 7
"Tokens of the prompt, by whoever counts it first."

Pieces = list[tuple[str, int]]
"Texts, each with the tokens that it stands for."

TOKENS = st.lists(st.sampled_from(["a", "b", "ab", "ba", "c", "é", "\N{ROCKET}", " "]), max_size=12)
STOPS = st.lists(st.sampled_from(["ab", "ba", "aab", "bc", "éa", "c"]), max_size=3, unique=True).map(tuple)


def request_of(**wishes: Any) -> Request:
    turns = (ChatTurn("user", "What is it?"),)
    policy = Policy(trust=Trust.OPEN, max_cost=Nano(50_000))
    return build_request("scripted", cast("Wishes", wishes), policy, messages=turns)


def terms_of(number: int) -> Terms:
    """Agree with one of several workers, by an exchange of its own."""
    exchange = ExchangeId(bytes([number]) * 16)
    ask = build_ask(
        request_of(),
        exchange=exchange,
        max_cost=50_000,
        seconds_left=30,
        channel=ChannelId(bytes(32)),
        prefer=(),
        exclude=(),
    )
    proxy, worker = paper_identity(1), paper_worker(NETWORK, now=EPOCH, number=number)
    deal = make_deal(ask, worker=worker, proxy=proxy, network=NETWORK, now=EPOCH)
    return judge_quote(deal.quote, ask=ask, proxy=proxy.peer_id, network=NETWORK, rules=Rules(), now=EPOCH)


TERMS = [terms_of(number) for number in range(1, 6)]


def pieces_of(tokens: Sequence[str], stop: tuple[str, ...]) -> tuple[Pieces, bool]:
    """Answer as our engines do: whole characters, whole tokens, nothing of a stop string."""
    pieces: Pieces = []
    text, before = AnswerText(stop), 0
    for number, token in enumerate(tokens, 1):
        text, delivery = text.feed(token.encode(), number)
        if delivery.text or delivery.stopped:
            pieces.append((delivery.text, delivery.completion_tokens - before))
            before = delivery.completion_tokens
        if delivery.stopped:
            return pieces, True
    last = text.end()
    return [*pieces, (last.text, last.completion_tokens - before)], False


class Reader:
    """Takes pieces from one worker after another, through what is tested."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.progress = Progress(request.content)
        self.text = ""
        self.finish: FinishReason | None = None
        self._worker = 0

    def take(self, pieces: Pieces, *, is_whole: bool) -> None:
        """Read what the next worker delivers before it is lost, or to its end."""
        tokens, prompt = 0, PROMPT + self.progress.tokens
        terms = TERMS[self._worker % len(TERMS)]
        for number, (text, count) in enumerate(pieces, 1):
            tokens += count
            finish = FinishReason.STOP if is_whole and number == len(pieces) else None
            usage = Usage(prompt=prompt, cached=0, completion=tokens, reasoning=0)
            content = self.progress.take(AnswerContent(text, finish), usage, terms)
            self.text += content.text
            self.finish = self.finish or content.finish
        self._worker += 1

    def lose(self) -> Request:
        self.text += self.progress.break_off()
        rest = resumed(self.request, self.progress)
        assert rest is not None
        return rest


@given(tokens=TOKENS, stop=STOPS, cuts=st.lists(st.integers(1, 4), max_size=4))
def test_however_often_an_answer_breaks_off_it_is_the_undisturbed_one(
    tokens: list[str], stop: tuple[str, ...], cuts: list[int]
) -> None:
    whole, _ = pieces_of(tokens, stop)
    reader, begun = Reader(request_of(stop=list(stop))), 0

    for cut in cuts:
        pieces, _ = pieces_of(tokens[begun:], stop)
        if cut >= len(pieces):
            break
        reader.take(pieces[:cut], is_whole=False)
        begun += sum(count for _, count in pieces[:cut])
        rest = reader.lose()
        assert rest.content.answer_prefix == reader.text == "".join(tokens[:begun])
        assert rest.content.completion_tokens_max == 256 - begun
    reader.take(pieces_of(tokens[begun:], stop)[0], is_whole=True)

    assert reader.text == "".join(text for text, _ in whole)
    assert reader.finish is FinishReason.STOP
    counted = sum(count for _, count in whole)
    assert reader.progress.usage == Usage(prompt=PROMPT, cached=0, completion=counted, reasoning=0)


@given(parts=st.lists(TOKENS, min_size=2, max_size=4), stop=STOPS, cut=st.integers(0, 5))
def test_no_stop_string_gets_through_where_sampled_parts_meet(
    parts: list[list[str]], stop: tuple[str, ...], cut: int
) -> None:
    reader = Reader(request_of(stop=list(stop)))

    for tokens in parts[:-1]:
        pieces, _ = pieces_of(tokens, stop)
        # A worker that is not ours may have let go of what could become a stop string.
        reader.take([*pieces[: max(1, cut)]], is_whole=False)
        if reader.progress.is_stopped:
            break
        reader.lose()
    reader.take(pieces_of(parts[-1], stop)[0], is_whole=True)

    assert not any(string in reader.text for string in stop)
    assert reader.finish is FinishReason.STOP


@given(
    before=st.text("ab", max_size=6),
    after=st.lists(st.text("ab", min_size=1, max_size=3), max_size=5),
    stop=STOPS,
)
def test_a_seam_holds_back_nothing_but_what_a_stop_string_can_become(
    before: str, after: list[str], stop: tuple[str, ...]
) -> None:
    seam, passed, is_stopped = seam_after(before, stop), "", False
    for text in after:
        seam, let_through, is_stopped = seam.feed(text)
        passed += let_through
        if is_stopped:
            break

    came = "".join(after)
    if is_stopped:
        assert passed == ""
        assert any(begins_before(before, came, string) for string in stop)
    else:
        assert passed + seam.held == came
        if seam.held:
            assert passed == ""
            joined = before + came
            assert any(string.startswith(joined[start:]) for start in range(len(before)) for string in stop)


def begins_before(before: str, came: str, stop: str) -> bool:
    joined = before + came
    starts = range(max(0, len(before) - len(stop) + 1), len(before))
    return any(joined.startswith(stop, start) for start in starts)


def test_what_was_held_at_a_second_break_is_read_and_told_again() -> None:
    reader = Reader(request_of(stop=["END"]))
    reader.take([("The E", 2)], is_whole=False)
    reader.lose()
    reader.take([("N", 1)], is_whole=False)
    assert reader.text == "The E"

    rest = reader.lose()
    reader.take([("DLESS", 1), (" ", 1)], is_whole=True)

    assert rest.content.answer_prefix == "The EN"
    assert (reader.text, reader.finish) == ("The EN", FinishReason.STOP)
    assert reader.progress.is_stopped


def test_the_rest_is_asked_of_the_same_weights_with_as_much_proven_and_by_name() -> None:
    reader = Reader(request_of())
    reader.take([("It ", 1)], is_whole=False)
    origin = replace(TERMS[0], trust=Trust.TDX)
    reader.progress.origin = origin

    rest = reader.lose()

    assert rest.weights_hash == origin.offer.weights_hash
    assert rest.trust is Trust.TDX
    assert rest.features == ("continue",)
    assert reader.progress.exchange == origin.quote.exchange
    assert reader.request.trust is Trust.OPEN


@given(text=st.text(min_size=1, max_size=2_000))
def test_what_was_delivered_is_within_the_bound_of_the_prompt_by_its_bytes(text: str) -> None:
    reader = Reader(request_of(completion_tokens_max=4_000))
    reader.take([(text, 1)], is_whole=False)

    rest = reader.lose()

    more = len(text.encode())
    assert rest.prompt_tokens_bound == reader.request.prompt_tokens_bound + more
    assert rest.prompt_tokens_bound == prompt_tokens_bound(rest.content) <= rest.prompt_tokens_max


def test_a_client_s_own_tokenizer_does_not_count_what_was_delivered() -> None:
    reader = Reader(request_of())
    reader.take([("It ", 1)], is_whole=False)

    assert is_plain_text(reader.request.content)
    assert not is_plain_text(reader.lose().content)


def test_what_is_too_long_to_be_told_again_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cocoon_p2p.protocols.contents.PARTS_MAX", 1)
    reader = Reader(request_of())
    reader.take([("x" * 1_000_000, 200)], is_whole=False)
    reader.progress.break_off()

    assert resumed(reader.request, reader.progress) is None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"function": {"name": "look"}}]}, "tools"),
    ({"schema": {"type": "object"}}, "form"),
    ({"json_object": True}, "form"),
    ({"regex": "a+"}, "form"),
    ({"grammar": "root ::= [a-z]"}, "form"),
    ({"logprobs": 0}, "logprobs"),
    ({"frequency_penalty": 0.5}, "penalties"),
    ({"presence_penalty": -0.5}, "penalties"),
    ({"banned": ["never"]}, "banned"),
]


@pytest.mark.parametrize(("wishes", "says"), WRONG, ids=lambda value: str(value)[:24])
def test_what_would_go_on_wrongly_is_named(wishes: dict[str, Any], says: str) -> None:
    assert says in (obstacle(request_of(**wishes).content) or "")


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"temperature": 0.8, "top_p": 0.9, "seed": 5},
        {"stop": ["END"]},
        {"ignore_eos": True},
        {"logit_bias": {5: -100}},
        {"tools": [{"function": {"name": "look"}}], "tool_choice": "none"},
    ],
    ids=str,
)
def test_what_can_go_on_has_no_obstacle(wishes: dict[str, Any]) -> None:
    assert obstacle(request_of(**wishes).content) is None


def test_only_chats_and_completions_go_on() -> None:
    policy = Policy()
    spoken = build_request("m", {}, policy, audio=Audio(b"RIFF"))
    assert obstacle(build_request("m", {}, policy, prompt="Once upon").content) is None
    assert "embedding" in (obstacle(build_request("m", {}, policy, inputs=("a",)).content) or "")
    assert "transcription" in (obstacle(spoken.content) or "")
