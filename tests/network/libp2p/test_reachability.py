"""What others found when they dialled us, weighed."""

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.announced import Announced
from cocoon_p2p.network.libp2p.reachability import (
    ADDRESSES_MAX,
    OPINION_SECONDS,
    VOICES_MAX,
    Opinions,
    advice,
)

HERE = Address("ip4", "203.0.113.7", 4001)
ELSEWHERE = Address("ip4", "203.0.113.8", 4001)


def said(**voices: str) -> Opinions:
    """Note what voices found: + reached us, - did not, one after the other."""
    opinions = Opinions()
    for voice, found in voices.items():
        for number, mark in enumerate(found):
            opinions.note(HERE, voice, mark == "+", float(number))
    return opinions


def test_where_nobody_has_tried_there_is_no_verdict() -> None:
    assert Opinions().verdicts() == {}


def test_the_first_who_reached_us_is_believed_for_he_brought_proof() -> None:
    assert said(a="+").verdicts() == {HERE: True}


def test_who_missed_us_once_is_asked_again_first() -> None:
    opinions = said(a="-")

    assert opinions.verdicts() == {}
    assert opinions.has_doubts(since=0)
    assert not opinions.has_doubts(since=1)


def test_who_missed_us_twice_is_believed() -> None:
    opinions = said(a="--")

    assert opinions.verdicts() == {HERE: False}
    assert not opinions.has_doubts(since=0)


def test_a_busy_moment_changes_nothing() -> None:
    assert said(a="++-").verdicts() == {HERE: True}
    assert said(a="--+").verdicts() == {HERE: True}
    assert said(a="++--").verdicts() == {HERE: False}


def test_one_who_says_that_he_missed_us_is_outvoted() -> None:
    assert said(liar="----", a="+", b="+").verdicts() == {HERE: True}


def test_one_who_reached_us_by_some_trick_is_outvoted() -> None:
    assert said(liar="+", a="--", b="--").verdicts() == {HERE: False}


def test_in_a_tie_proof_counts_more_than_words() -> None:
    assert said(liar="--", a="+").verdicts() == {HERE: True}


def test_crowds_who_dialled_us_cannot_say_that_nobody_can_but_may_prove_that_they_did() -> None:
    opinions = Opinions()
    for voice in range(9):
        for now in range(2):
            opinions.note(HERE, str(voice), was_reached=False, now=now, may_accuse=False)
    assert opinions.verdicts() == {}

    opinions.note(HERE, "dialled us", was_reached=True, now=2.0, may_accuse=False)

    assert opinions.verdicts() == {HERE: True}


def test_each_address_is_judged_by_itself() -> None:
    opinions = said(a="+")
    opinions.note(ELSEWHERE, "a", False, 0)
    opinions.note(ELSEWHERE, "a", False, 1)

    assert opinions.verdicts() == {HERE: True, ELSEWHERE: False}


def test_what_was_said_long_ago_is_forgotten() -> None:
    opinions = said(a="+")

    opinions.forget([HERE], OPINION_SECONDS)

    assert opinions.verdicts() == {}


def test_what_was_said_of_an_address_that_is_ours_no_more_is_forgotten() -> None:
    opinions = said(a="+")

    opinions.forget([ELSEWHERE], 1.0)
    opinions.forget([HERE], 1.0)

    assert opinions.verdicts() == {}


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.booleans()), max_size=300))
def test_opinions_are_bounded_and_a_verdict_has_a_majority(notes: list[tuple[int, int, bool]]) -> None:
    opinions = Opinions()
    for number, (place, voice, was_reached) in enumerate(notes):
        opinions.note(Address("ip4", "203.0.113.7", 1 + place), str(voice), was_reached, float(number))

    verdicts = opinions.verdicts()
    assert len(verdicts) <= ADDRESSES_MAX
    for address, is_reached in verdicts.items():
        votes = opinions.votes(address)
        assert 0 < votes.total() <= VOICES_MAX
        assert is_reached is (votes[True] >= votes[False])


@given(st.dictionaries(st.sampled_from("abcdefg"), st.text("+-", min_size=2, max_size=6), min_size=3))
def test_fewer_liars_than_honest_ones_change_no_verdict(voices: dict[str, str]) -> None:
    liars = list(voices)[: (len(voices) - 1) // 2]
    for truth in ("++", "--"):
        opinions = said(**{voice: found if voice in liars else truth for voice, found in voices.items()})

        assert opinions.verdicts() == {HERE: truth == "++"}


# ------------------------------------------------------------------ advice


def node(*listening: str) -> Announced:
    announced = Announced(Identity.from_seed(bytes(32)).peer_id)
    announced.offer("listening", listening)
    return announced


def test_who_can_be_dialled_needs_no_advice() -> None:
    announced = node(str(HERE))
    assert advice(announced) == ""

    announced.judge({HERE: True})

    assert advice(announced) == ""


def test_who_is_behind_a_router_is_told_what_to_forward_and_to_where() -> None:
    announced = node("/ip4/192.168.1.5/tcp/4001")
    announced.offer("observed", [str(HERE)])
    announced.judge({HERE: False})

    assert "forward TCP port 4001 to this machine (192.168.1.5)" in advice(announced)
    assert "no relay stands in" in advice(announced)

    announced.offer("relay", ["/ip4/5.9.1.1/tcp/1/p2p/x/p2p-circuit"])
    assert "meanwhile relays stand in" in advice(announced)


def test_who_wrote_down_what_does_not_work_is_told_that() -> None:
    announced = node("/ip4/192.168.1.5/tcp/4001")
    announced.offer("configured", [str(HERE)])
    announced.judge({HERE: False})

    assert "others cannot dial what `announce` says" in advice(announced)
