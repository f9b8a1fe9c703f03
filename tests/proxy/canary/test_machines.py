"""The pure parts of a proxy's own questions: what they may cost, what an answer shows, what follows."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.proxy.canary.budget import HOUR_SECONDS, Budget
from cocoon_p2p.proxy.canary.findings import (
    ANSWERS_MAX,
    QUESTION_SECONDS,
    QUESTIONS_MAX,
    Answer,
    Answers,
    Asked,
    Finding,
    Topic,
    judge,
)
from cocoon_p2p.proxy.canary.question import COMPLETION_TOKENS, PROMPT_TOKENS_MAX, Question, make_question
from cocoon_p2p.proxy.canary.watch import (
    IDLE_SECONDS,
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    PAUSE_FIRST_SECONDS,
    PAUSE_LAST_SECONDS,
    Watch,
    after,
    due_at,
)
from cocoon_p2p.units import Nano

QUESTION = Question("What is salt?", 20)
TOPIC = Topic("m", b"w" * 32)
PEERS = [Identity.from_seed(bytes([number]) * 32).peer_id for number in range(1, 6)]


# ---------------------------------------------------------------- budget


@pytest.mark.slow
@given(
    per_hour=st.integers(0, 10**7),
    steps=st.lists(st.tuples(st.floats(0, 2_000), st.integers(0, 10**6), st.floats(0, 1)), max_size=40),
)
@settings(deadline=None, max_examples=60)
def test_no_hour_costs_more_than_the_budget(per_hour: int, steps: Sequence[tuple[float, int, float]]) -> None:
    budget, now, bought = Budget(Nano(per_hour), 0.0), 0.0, list[tuple[float, int]]()

    for wait, price, share in steps:
        now += wait
        taken = budget.take(Nano(price), now)
        if taken is not None:
            back = int(price * share)
            budget = taken.give_back(Nano(back), now)
            bought.append((now, price - back))

    for begin, _ in bought:
        hour = sum(cost for at, cost in bought if begin <= at <= begin + HOUR_SECONDS)
        assert hour <= per_hour + 1e-3


def test_a_proxy_that_is_started_again_and_again_has_nothing_to_spend() -> None:
    assert Budget(Nano(1_000_000), at=50.0).take(Nano(1), 50.0) is None


# ---------------------------------------------------------------- questions


@given(luck=st.integers(0, 2**64 - 1))
def test_every_question_fits_the_bounds_that_are_told(luck: int) -> None:
    question = make_question(luck)

    assert len(question.text) < PROMPT_TOKENS_MAX - 56, "room for any template"
    assert COMPLETION_TOKENS[0] <= question.completion_tokens_max <= COMPLETION_TOKENS[1]


# ---------------------------------------------------------------- findings


def said(
    peer: int, text: str = "Salt is a mineral.", prompt: int = 12, tokens: int = 5, *, vouched: bool = True
) -> Answer:
    return Answer(PEERS[peer], text, prompt, tokens, vouched)


def asked(*answers: Answer, engine: str = "e 1") -> Asked:
    return Asked(QUESTION, 0.0, tuple((engine, answer) for answer in answers))


def test_alone_an_answer_is_good_that_has_words() -> None:
    assert judge(asked(), "e 1", said(0, "Whatever it says.")) is Finding.GOOD


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_an_answer_without_words_is_empty(text: str) -> None:
    assert judge(asked(), "e 1", said(0, text)) is Finding.EMPTY


def test_one_sign_over_and_over_is_a_stammer_and_a_short_word_is_not() -> None:
    assert judge(asked(), "e 1", said(0, "!" * 20)) is Finding.STAMMER
    assert judge(asked(), "e 1", said(0, "aaa")) is Finding.GOOD


def test_who_answers_otherwise_than_two_who_agree_is_different() -> None:
    others = asked(said(1), said(2))

    assert judge(others, "e 1", said(0, "Purple monkeys eat tin.")) is Finding.DIFFERENT
    assert judge(others, "e 1", said(0, "Salt is a mineral that")) is Finding.GOOD
    assert judge(others, "e 1", said(0, "Salt is a min, mostly.")) is Finding.GOOD, "they part later on"


def test_one_other_is_no_known_answer_nor_are_two_who_disagree() -> None:
    assert judge(asked(said(1)), "e 1", said(0, "Purple.")) is Finding.GOOD
    assert judge(asked(said(1), said(2, "Green cats.")), "e 1", said(0, "Purple.")) is Finding.GOOD


def test_another_engine_is_not_compared_with() -> None:
    assert judge(asked(said(1), said(2)), "e 2", said(0, "Purple.", 99)) is Finding.GOOD


def test_a_crowd_of_newcomers_outvotes_nobody() -> None:
    crowd = asked(*(said(number, "We all lie.", 99, vouched=False) for number in (1, 2, 3, 4)))

    assert judge(crowd, "e 1", said(0)) is Finding.GOOD


def test_who_counts_otherwise_than_all_who_agree_has_miscounted() -> None:
    assert judge(asked(said(1), said(2)), "e 1", said(0, prompt=24)) is Finding.MISCOUNTED
    assert judge(asked(said(1), said(2, prompt=13)), "e 1", said(0, prompt=24)) is Finding.GOOD


def test_who_counts_far_more_tokens_than_it_says_letters_has_overcounted() -> None:
    assert judge(asked(), "e 1", said(0, "Salt.", tokens=30)) is Finding.OVERCOUNTED
    assert judge(asked(), "e 1", said(0, "Salt.", tokens=7)) is Finding.GOOD


def test_a_worker_is_not_asked_the_same_twice_and_others_are() -> None:
    answers, fresh = Answers(), [make_question(number) for number in range(3)]

    first = answers.pick(TOPIC, PEERS[0], fresh[0], 0.0)
    answers.take(TOPIC, first.question, "e 1", said(0))

    assert answers.pick(TOPIC, PEERS[1], fresh[1], 1.0).question == fresh[0]
    assert answers.pick(TOPIC, PEERS[0], fresh[1], 1.0).question == fresh[1]
    assert answers.pick(TOPIC, PEERS[1], fresh[2], 2 * QUESTION_SECONDS).question == fresh[2]


def test_what_is_remembered_is_bounded() -> None:
    answers, topic = Answers(), TOPIC
    for number in range(QUESTIONS_MAX + 5):
        topic = Topic("m", number.to_bytes(32))
        answers.pick(topic, PEERS[0], QUESTION, 0.0)
    for number in range(2 * ANSWERS_MAX):
        answers.take(topic, QUESTION, "e", Answer(PeerId(number.to_bytes(38)), "ab" * 10**5, 1, 1, True))

    kept = answers.pick(topic, PEERS[0], QUESTION, 0.0)
    assert len(answers) == QUESTIONS_MAX
    assert len(kept.answers) <= ANSWERS_MAX
    assert all(len(answer.text) <= 400 for _, answer in kept.answers)


# ---------------------------------------------------------------- what follows


@given(found=st.lists(st.sampled_from(Finding), max_size=30))
@settings(deadline=None)
def test_who_is_out_is_asked_after_a_bounded_pause_and_a_good_answer_ends_it(found: list[Finding]) -> None:
    watch, now = Watch(), 100.0
    for finding in found:
        watch = after(watch, finding, now)
        if finding is Finding.GOOD:
            assert watch.out_until is None
            assert (watch.strikes, watch.outs) == (0, 0)
        if watch.out_until is not None:
            assert now < watch.out_until <= now + PAUSE_LAST_SECONDS
            assert due_at(watch, now, 0.5) == watch.out_until
        now += 5_000

    assert after(watch, Finding.GOOD, now) == Watch(asked_at=now, good_at=now, finding=Finding.GOOD)


@pytest.mark.parametrize("finding", [each for each in Finding if each.is_bad])
def test_nothing_but_silence_condemns_at_once(finding: Finding) -> None:
    watch, times = Watch(), 0
    while watch.out_until is None:
        watch, times = after(watch, finding, 100.0 + times), times + 1

    assert times == finding.enough
    assert (times == 1) == (finding in (Finding.SILENT, Finding.BROKEN))


def test_what_is_no_fault_of_its_changes_nothing() -> None:
    watch = after(Watch(good_at=90.0), Finding.UNTOLD, 100.0)

    assert (watch.strikes, watch.outs, watch.out_until) == (0, 0, None)
    assert due_at(watch, None, 0.0) > 100.0, "and it is not asked again at once"


def test_pauses_double_up_to_an_hour() -> None:
    watch, pauses = Watch(), list[float]()
    for _ in range(12):
        watch = after(watch, Finding.SILENT, 0.0)
        pauses.append(watch.out_until or 0.0)

    assert pauses[:3] == [PAUSE_FIRST_SECONDS, 2 * PAUSE_FIRST_SECONDS, 4 * PAUSE_FIRST_SECONDS]
    assert pauses[-1] == PAUSE_LAST_SECONDS


@given(jitter=st.floats(0, 1), served=st.floats(100, 1e6))
def test_a_dead_generator_is_found_within_half_a_minute_of_its_last_answer(
    jitter: float, served: float
) -> None:
    watch = Watch(asked_at=100.0, good_at=100.0, finding=Finding.GOOD)

    due = due_at(watch, served, jitter)

    assert due <= max(served, 100.0) + IDLE_SECONDS
    assert due <= 100.0 + LOOK_SECONDS
    assert IDLE_SECONDS + PATIENCE_SECONDS + 2 < 30
