"""Verdicts that are remembered: for how long, for whom, how many, and what a new policy does to them."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cocoon_p2p.attestation import Appraiser, Cause, Shown, Turnstile, default_policy, evidence_hash
from cocoon_p2p.errors import LocalProtocolError, Refused
from cocoon_p2p.identity import PeerId, network_id
from cocoon_p2p.protocols.ids import CLOCK_SKEW_SECONDS, Role, Trust
from cocoon_p2p.protocols.messages import Signed
from cocoon_p2p.testing.gpus import PaperGpu
from cocoon_p2p.testing.papers import paper_identity
from tests.attestation.scene import NOW, ON_GPU, Scene, firmware_of, image_of, policy_for

SCENE = Scene()
POLICY = policy_for(SCENE.body)


def shown(scene: Scene) -> Shown:
    return Shown(scene.statement, evidence_hash(scene.evidence), scene.peer, scene.role)


def test_a_verdict_is_found_again_until_it_ends() -> None:
    appraiser = Appraiser(POLICY)
    verdict = SCENE.meet(appraiser)

    assert appraiser.recall(shown(SCENE), now=NOW) is verdict
    assert appraiser.recall(shown(SCENE), now=verdict.until - 1) is verdict
    assert appraiser.recall(shown(SCENE), now=verdict.until) is None


@pytest.mark.parametrize("now", [NOW - CLOCK_SKEW_SECONDS - 1, float("nan")])
def test_a_clock_that_went_back_finds_no_verdict(now: float) -> None:
    appraiser = Appraiser(POLICY)
    SCENE.meet(appraiser)

    assert appraiser.recall(shown(SCENE), now=now) is None


def test_a_false_signature_does_not_find_the_verdict_of_the_true_one() -> None:
    appraiser = Appraiser(POLICY)
    SCENE.meet(appraiser)
    forged = replace(shown(SCENE), statement=Signed(SCENE.statement.body, bytes(64)))

    assert appraiser.recall(forged, now=NOW) is None
    assert appraiser.recall(replace(shown(SCENE), peer=paper_identity(9).peer_id), now=NOW) is None
    assert appraiser.recall(replace(shown(SCENE), role=Role.PROXY), now=NOW) is None
    assert appraiser.recall(replace(shown(SCENE), evidence_hash=bytes(32)), now=NOW) is None


def test_a_refusal_is_remembered_for_a_minute() -> None:
    appraiser = Appraiser(default_policy(SCENE.network))
    verdict = SCENE.meet(appraiser)

    assert verdict.cause is Cause.NO_IMAGE_LISTED
    assert appraiser.recall(shown(SCENE), now=NOW + 59) is verdict
    assert appraiser.recall(shown(SCENE), now=NOW + 60) is None


def test_a_refusal_for_want_of_lists_is_not_remembered() -> None:
    appraiser = Appraiser(POLICY)

    verdict = appraiser.appraise(shown(SCENE), SCENE.examine(collateral=None), now=NOW)

    assert verdict.cause is Cause.COLLATERAL_MISSING
    assert appraiser.recall(shown(SCENE), now=NOW) is None


def test_a_flood_of_refusals_pushes_out_no_verdict() -> None:
    appraiser = Appraiser(POLICY, refusals_max=4)
    SCENE.meet(appraiser)

    for number in range(20):
        junk = replace(shown(SCENE), evidence_hash=number.to_bytes(32, "big"))
        appraiser.appraise(junk, SCENE.examine(evidence=b"junk"), now=NOW)

    assert appraiser.recall(shown(SCENE), now=NOW) is not None


def test_verdicts_are_bounded_and_the_least_used_goes_first() -> None:
    appraiser = Appraiser(POLICY, verdicts_max=2)
    scenes = [Scene(number=number) for number in range(3)]

    for scene in (scenes[0], scenes[1], scenes[0], scenes[2]):
        scene.meet(appraiser)

    assert [appraiser.recall(shown(scene), now=NOW) is None for scene in scenes] == [False, True, False]


# ---------------------------------------------------------------- platforms


def tenants(count: int) -> list[Scene]:
    return [Scene(identity=paper_identity(100 + number)) for number in range(count)]


def test_a_platform_bears_no_more_peers_than_the_policy_allows() -> None:
    appraiser = Appraiser(replace(POLICY, peers_per_platform=2))
    one, two, three = tenants(3)

    assert one.meet(appraiser).has_passed
    assert two.meet(appraiser).has_passed
    refused = three.meet(appraiser)

    assert (refused.cause, refused.level) == (Cause.PLATFORM_FULL, Trust.OPEN)
    assert replace(one, number=5).meet(appraiser).has_passed
    appraiser.forget(one.peer)
    assert three.meet(appraiser, now=NOW + 61).has_passed


def test_a_place_on_a_platform_is_free_when_its_verdict_has_ended() -> None:
    appraiser = Appraiser(replace(POLICY, peers_per_platform=1, expires=NOW + 9e9))
    one, two = tenants(2)
    until = one.meet(appraiser).until

    assert replace(two, born=until).meet(appraiser, now=until).has_passed


# ---------------------------------------------------------------- a new policy


def test_a_new_policy_says_which_verdicts_fall() -> None:
    appraiser = Appraiser(POLICY)
    gone, stays = Scene(identity=paper_identity(1)), Scene(identity=paper_identity(2))
    other = replace(stays, machine=replace(stays.machine, ppid=b"\x77" * 16))
    gone.meet(appraiser)
    other.meet(appraiser)
    stricter = replace(POLICY, epoch=4, platforms_denied=frozenset({gone.machine.ppid}))

    (change,) = appraiser.adopt(stricter, now=NOW + 10)

    assert change.shown.peer == gone.peer
    assert (change.before.level, change.after.cause) == (Trust.TDX, Cause.PLATFORM_DENIED)
    assert appraiser.recall(shown(gone), now=NOW + 10) is change.after
    kept = appraiser.recall(shown(other), now=NOW + 10)
    assert kept is not None
    assert (kept.has_passed, kept.policy_epoch) == (True, 4)


def test_a_new_policy_under_which_a_gpu_no_longer_counts_lowers_the_level() -> None:
    scene = Scene(configuration=ON_GPU, gpus=(PaperGpu(),))
    appraiser = Appraiser(policy_for(scene.body, gpus=(firmware_of(PaperGpu()),)))
    assert scene.meet(appraiser).level is Trust.TDX_GPU

    (change,) = appraiser.adopt(policy_for(scene.body, epoch=4), now=NOW)

    assert (change.after.cause, change.after.level) == (Cause.GPU_NOT_LISTED, Trust.OPEN)


def test_a_refusal_under_the_old_policy_is_forgotten() -> None:
    appraiser = Appraiser(default_policy(SCENE.network))
    SCENE.meet(appraiser)

    assert appraiser.adopt(POLICY, now=NOW) == ()
    assert SCENE.meet(appraiser).has_passed


def test_a_lower_cap_keeps_those_who_were_there_first() -> None:
    appraiser = Appraiser(POLICY)
    scenes = tenants(3)
    for number, scene in enumerate(scenes):
        scene.meet(appraiser, now=NOW + number)

    changes = appraiser.adopt(replace(POLICY, epoch=4, peers_per_platform=1), now=NOW + 9)

    assert [change.shown.peer for change in changes] == [scene.peer for scene in scenes[1:]]


def test_a_policy_that_goes_back_or_is_anothers_is_a_fault_of_ours() -> None:
    appraiser = Appraiser(POLICY)

    for wrong in (replace(POLICY, epoch=2), replace(POLICY, epoch=4, network=network_id("demo"))):
        with pytest.raises(LocalProtocolError):
            appraiser.adopt(wrong, now=NOW)


class Remembering(RuleBasedStateMachine):
    """Whatever is shown, under whichever policy: what is remembered is what judging anew would say."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.scenes = tenants(4)
        body = self.scenes[0].body
        self.kinds = (
            {"images": (image_of(body),)},
            {"images": ()},
            {"images": (image_of(body),), "peers_per_platform": 2},
            {"images": (image_of(body),), "evaluation_minimum": 19},
        )
        self.policy = policy_for(body)
        self.appraiser = Appraiser(self.policy, verdicts_max=3, refusals_max=2)

    @rule(index=st.integers(0, 3))
    def meet(self, index: int) -> None:
        verdict = self.scenes[index].meet(self.appraiser, now=self.now)

        assert verdict.policy_digest == self.policy.digest

    @rule(seconds=st.sampled_from([1, 59, 3_600]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(kind=st.integers(0, 3))
    def change_policy(self, kind: int) -> None:
        epoch = self.policy.epoch + 1
        self.policy = replace(self.policy, epoch=epoch, digest=epoch.to_bytes(32, "big"), **self.kinds[kind])
        for change in self.appraiser.adopt(self.policy, now=self.now):
            assert change.before.has_passed
            assert not change.after.has_passed

    @invariant()
    def no_platform_bears_too_many(self) -> None:
        verdicts = [self.appraiser.recall(shown(scene), now=self.now) for scene in self.scenes]
        passed = [verdict for verdict in verdicts if verdict is not None and verdict.has_passed]

        assert len(passed) <= (self.policy.peers_per_platform or 3)
        assert all(verdict.policy_epoch == self.policy.epoch for verdict in passed)
        assert not passed or self.policy.images


TestRemembering = pytest.mark.slow(Remembering.TestCase)
TestRemembering.settings = settings(max_examples=10, stateful_step_count=12, deadline=None)


# ---------------------------------------------------------------- who may ask


def sender(number: int) -> PeerId:
    return PeerId(number.to_bytes(38, "big"))


def test_a_sender_that_asks_in_a_loop_is_stopped_and_nobody_else_is() -> None:
    turnstile = Turnstile()
    for _ in range(8):
        turnstile.admit(sender(1), now=NOW)

    with pytest.raises(Refused) as refusal:
        turnstile.admit(sender(1), now=NOW)
    assert (refusal.value.code, refusal.value.retry_after) == ("rate-limited", 1.0)
    turnstile.admit(sender(2), now=NOW)
    turnstile.admit(sender(1), now=NOW + 1)


def test_a_proxy_whose_workers_start_anew_every_other_second_is_never_stopped() -> None:
    turnstile = Turnstile()
    for number in range(1_000):
        turnstile.admit(sender(1), now=NOW + 2 * number)


def test_a_thousand_senders_together_are_stopped_as_well() -> None:
    turnstile = Turnstile()
    admitted = 0

    for number in range(3_000):
        try:
            turnstile.admit(sender(number), now=NOW + number / 10_000)
            admitted += 1
        except Refused:
            pass

    assert admitted == 64 + 14


def test_a_clock_that_goes_back_admits_nobody_more() -> None:
    turnstile = Turnstile()
    for _ in range(8):
        turnstile.admit(sender(1), now=NOW)

    with pytest.raises(Refused):
        turnstile.admit(sender(1), now=NOW - 1_000)
    with pytest.raises(Refused):
        turnstile.admit(sender(1), now=NOW - 999.5)


def test_a_clock_that_went_back_does_not_stop_the_filling() -> None:
    turnstile = Turnstile()
    for _ in range(8):
        turnstile.admit(sender(1), now=NOW)
    with pytest.raises(Refused):
        turnstile.admit(sender(1), now=NOW - 1_000)

    turnstile.admit(sender(1), now=NOW - 995)
