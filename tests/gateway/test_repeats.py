"""Which earlier request is meant by one that is sent again, and how long that is remembered."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cocoon_p2p.gateway import repeats as rules
from cocoon_p2p.gateway.refusals import RequestRefused
from cocoon_p2p.gateway.repeats import KEPT_SECONDS, LEFT_SECONDS, Repeats, Ticket


@dataclass(eq=False)
class Said:
    """An answer, as far as it matters here."""

    size_bytes: int = 100


BARE = Ticket(caller="", words=b"hello")
KEYED = replace(BARE, key="k")
FIRST = replace(BARE, tries=0)
SECOND = replace(BARE, tries=1)


def test_an_answer_is_found_by_its_key_while_it_is_made_and_a_while_after() -> None:
    repeats, answer = Repeats[Said](), Said()
    repeats.begin(KEYED, answer)

    assert repeats.find(KEYED, now=1e9) is answer
    repeats.end(KEYED, answer, now=1e9)
    assert repeats.find(KEYED, now=1e9 + KEPT_SECONDS - 1) is answer
    assert repeats.find(KEYED, now=1e9 + KEPT_SECONDS) is None


def test_a_key_for_other_words_is_refused() -> None:
    repeats = Repeats[Said]()
    repeats.begin(KEYED, Said())

    with pytest.raises(RequestRefused) as caught:
        repeats.find(replace(KEYED, words=b"other"), now=0)
    assert (caught.value.refusal.status, caught.value.refusal.code) == (422, "idempotency-key-reused")


@pytest.mark.parametrize("other", [replace(KEYED, key="other"), replace(KEYED, caller="somebody"), BARE])
def test_another_key_or_caller_finds_nothing(other: Ticket) -> None:
    repeats = Repeats[Said]()
    repeats.begin(KEYED, Said())

    assert repeats.find(other, now=0) is None


def test_the_next_try_finds_what_was_not_waited_for_and_no_one_after_it() -> None:
    repeats, answer = Repeats[Said](), Said()
    repeats.leave(FIRST, answer, now=0)

    assert repeats.find(SECOND, now=1) is answer
    assert repeats.find(SECOND, now=1) is None


@pytest.mark.parametrize(
    "other",
    [
        FIRST,
        replace(SECOND, words=b"other"),
        replace(SECOND, caller="somebody"),
        BARE,
    ],
)
def test_what_is_not_the_next_try_of_the_same_finds_nothing(other: Ticket) -> None:
    repeats = Repeats[Said]()
    repeats.leave(FIRST, Said(), now=0)

    assert repeats.find(other, now=1) is None


def test_a_try_that_was_refused_at_the_door_does_not_hide_the_one_before_it() -> None:
    repeats, answer = Repeats[Said](), Said()
    repeats.leave(FIRST, answer, now=0)

    assert repeats.find(replace(BARE, tries=2), now=1) is answer


def test_two_who_ask_the_same_each_find_their_own() -> None:
    repeats, one, two = Repeats[Said](), Said(), Said()
    repeats.leave(FIRST, one, now=0)
    repeats.leave(FIRST, two, now=0)

    assert [repeats.find(SECOND, now=1), repeats.find(SECOND, now=1)] == [one, two]


def test_what_was_not_waited_for_is_forgotten_after_a_minute() -> None:
    repeats = Repeats[Said]()
    repeats.leave(FIRST, Said(), now=0)

    assert repeats.find(SECOND, now=LEFT_SECONDS) is None


@pytest.mark.parametrize(
    ("ticket", "waited", "expected"),
    [
        (replace(FIRST, patience_seconds=10), 10.0, 1.5),
        (replace(SECOND, patience_seconds=10), 10.0, 2.0),
        (replace(FIRST, patience_seconds=10), 9.0, 0),
        (replace(BARE, tries=2, patience_seconds=10), 10.0, 0),
        (replace(BARE, patience_seconds=10), 10.0, 0),
        (FIRST, 10.0, 0),
    ],
)
def test_only_a_time_out_is_followed_by_another_try(ticket: Ticket, waited: float, expected: float) -> None:
    assert ticket.comes_back_after(waited) == expected


class Remembering(RuleBasedStateMachine):
    """However requests come, what is remembered stays within its bounds, and is what was meant."""

    def __init__(self) -> None:
        super().__init__()
        self.repeats = Repeats[Said]()
        self.running: dict[str, tuple[Ticket, Said]] = {}
        self.left = 0
        self.now = 0.0

    @rule(key=st.sampled_from("abcdefgh"), size=st.integers(0, 40))
    def begin(self, key: str, size: int) -> None:
        ticket, answer = replace(KEYED, key=key), Said(size)
        self.repeats.begin(ticket, answer)
        self.running[key] = ticket, answer
        assert self.repeats.find(ticket, now=self.now) is answer

    @rule(key=st.sampled_from("abcdefgh"))
    def end(self, key: str) -> None:
        if key in self.running:
            ticket, answer = self.running.pop(key)
            self.repeats.end(ticket, answer, now=self.now)

    @rule(tries=st.integers(0, 2))
    def leave(self, tries: int) -> None:
        self.repeats.leave(replace(BARE, tries=tries), Said(), now=self.now)

    @rule(seconds=st.floats(0, 700))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.repeats.find(BARE, now=self.now)

    @invariant()
    def nothing_grows(self) -> None:
        assert 0 <= self.repeats.size_bytes <= rules.KEPT_MAX_BYTES
        assert len(self.repeats) <= len(self.running) + rules.KEPT_MAX + rules.LEFT_MAX

    @invariant()
    def what_runs_is_found(self) -> None:
        for ticket, answer in self.running.values():
            assert self.repeats.find(ticket, now=self.now) is answer


@pytest.mark.slow
class TestRemembering(Remembering.TestCase):
    settings = settings(
        max_examples=20,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )

    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rules, "KEPT_MAX_BYTES", 100)
        monkeypatch.setattr(rules, "KEPT_MAX", 4)
        monkeypatch.setattr(rules, "LEFT_MAX", 3)
