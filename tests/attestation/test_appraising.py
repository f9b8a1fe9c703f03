"""The whole appraisal: lists from memory, disk and mirrors, a thread, a limit, a memory."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from cocoon_p2p.attestation import Cause, default_policy, evidence_hash, read_collateral, simulate
from cocoon_p2p.attestation.appraising import Verifier
from cocoon_p2p.attestation.collateral import Platform
from cocoon_p2p.attestation.mirror import PccsMirror
from cocoon_p2p.attestation.policy import Policy
from cocoon_p2p.attestation.shelf import FETCH_SECONDS, FETCHES_MAX, CollateralShelf, CollateralSource
from cocoon_p2p.attestation.verdict import Verdict
from cocoon_p2p.errors import ConfigurationError, Refused, Unavailable
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.testing.machines import PaperMachine
from cocoon_p2p.testing.papers import paper_identity
from tests.attestation.kernel import Mirror, serving_lists
from tests.attestation.scene import NETWORK, NOW, Scene, policy_for

SCENE = Scene()
LISTS = SCENE.machine.collateral()
SENDER = paper_identity(50).peer_id


class Desk:
    """A verifier, its shelf, and a clock that stands still until it is set."""

    def __init__(self, folder: Path, *sources: CollateralSource, policy: Policy | None = None) -> None:
        self.now = NOW
        self.shelf = CollateralShelf(folder, sources)
        self.verifier = Verifier(
            policy or policy_for(SCENE.body), self.shelf, clock=lambda: self.now, roots=SCENE.roots
        )

    async def meet(self, scene: Scene = SCENE, evidence: bytes | None = None) -> Verdict:
        return await self.verifier.appraise(
            scene.statement, evidence or scene.evidence, peer=scene.peer, role=scene.role, sender=SENDER
        )


async def test_lists_come_from_a_mirror_once_and_then_from_the_shelf(tmp_path: Path) -> None:
    mirror = Mirror(LISTS)
    desk = Desk(tmp_path, mirror)

    verdicts = [await desk.meet(Scene(number=number)) for number in range(3)]
    later = Desk(tmp_path, Mirror(None))

    assert [verdict.level for verdict in verdicts] == [Trust.TDX] * 3
    assert mirror.asked == [Platform("00deadbeef00", "platform")]
    assert (await later.meet()).has_passed


async def test_a_verdict_is_recalled_by_the_hash_of_evidence_that_was_not_even_fetched(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, Mirror(LISTS))
    hashed = evidence_hash(SCENE.evidence)
    assert desk.verifier.recall(SCENE.statement, hashed, peer=SCENE.peer, role=SCENE.role) is None

    verdict = await desk.meet()

    assert desk.verifier.recall(SCENE.statement, hashed, peer=SCENE.peer, role=SCENE.role) is verdict
    assert await desk.meet() is verdict


@pytest.mark.parametrize(
    "bad",
    [
        None,
        b"junk",
        PaperMachine(now=NOW, fmspc=b"\1" * 6).collateral(),
        LISTS.replace(b"UpToDate", b"SWHardeningNeeded"),
        replace(SCENE.machine, now=NOW - 40 * 86_400).collateral(),
    ],
    ids=["down", "junk", "of another platform", "altered", "stale"],
)
async def test_a_bad_mirror_does_no_harm_where_there_is_a_good_one(tmp_path: Path, bad: bytes | None) -> None:
    desk = Desk(tmp_path, Mirror(bad), Mirror(LISTS))

    assert (await desk.meet()).has_passed
    kept = await desk.shelf.get(Platform("00deadbeef00", "platform"))
    assert kept == read_collateral(LISTS)


async def test_a_mirror_that_hangs_is_left_alone_after_a_while(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class Hanging:
        async def fetch(self, platform: Platform, quote: bytes) -> bytes:
            await trio.sleep_forever()
            raise AssertionError

    desk = Desk(tmp_path, Hanging(), Mirror(LISTS))
    began = trio.current_time()

    assert (await desk.meet()).has_passed
    assert trio.current_time() - began == pytest.approx(FETCH_SECONDS)


async def test_without_any_lists_nothing_is_proven_and_the_next_question_asks_again_a_minute_later(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    mirror = Mirror(None)
    desk = Desk(tmp_path, mirror)
    assert (await desk.meet()).cause is Cause.COLLATERAL_MISSING
    mirror.lists = LISTS

    assert (await desk.meet()).cause is Cause.COLLATERAL_MISSING
    await trio.sleep(61)
    assert (await desk.meet()).has_passed


async def test_a_mirror_cannot_roll_the_lists_back(tmp_path: Path) -> None:
    bad_day = replace(SCENE.machine, status="OutOfDate")
    old = replace(SCENE.machine, now=NOW - 10 * 86_400).collateral()
    await Desk(tmp_path, Mirror(bad_day.collateral())).meet()

    desk = Desk(tmp_path, Mirror(old), policy=policy_for(SCENE.body, expires=NOW + 9e7))

    assert (await desk.meet()).cause is Cause.TCB_STATUS
    desk.now = NOW + 29.9 * 86_400
    scene = replace(SCENE, born=desk.now)
    assert (await desk.meet(scene)).cause is Cause.TCB_STATUS


async def test_the_shelf_takes_no_older_lists_for_newer_ones_from_nobody(tmp_path: Path) -> None:
    newer = read_collateral(LISTS)
    older = replace(SCENE.machine, now=NOW - 60)
    shelf = CollateralShelf(tmp_path, [])
    await shelf.keep(newer)

    await shelf.keep(read_collateral(older.collateral()))

    assert await shelf.get(newer.platform) == newer
    assert await shelf.fetch(Mirror(older.collateral()), newer.platform, b"") is None
    assert await CollateralShelf(tmp_path, []).get(newer.platform) == newer


async def test_lists_that_end_are_replaced_by_newer_ones(tmp_path: Path) -> None:
    mirror = Mirror(LISTS)
    desk = Desk(tmp_path, mirror, policy=policy_for(SCENE.body, expires=NOW + 9e7))
    await desk.meet()
    desk.now = NOW + 31 * 86_400
    newer = replace(SCENE, machine=replace(SCENE.machine, now=desk.now), born=desk.now)
    desk.shelf = CollateralShelf(tmp_path, [Mirror(newer.machine.collateral())])
    desk.verifier = Verifier(desk.verifier.policy, desk.shelf, clock=lambda: desk.now, roots=SCENE.roots)

    assert (await desk.meet(newer)).has_passed


async def test_lists_below_the_least_evaluation_number_are_asked_for_anew(tmp_path: Path) -> None:
    newer = replace(SCENE.machine, now=NOW + 60, evaluation_number=19).collateral()
    await Desk(tmp_path, Mirror(LISTS)).meet()

    desk = Desk(tmp_path, Mirror(newer), policy=policy_for(SCENE.body, evaluation_minimum=19))

    assert (await desk.meet()).has_passed


async def test_a_false_quote_spoils_no_lists_and_a_flood_of_them_asks_mirrors_no_more_than_a_few_times(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    mirror = Mirror(LISTS)
    desk = Desk(tmp_path, mirror)
    verdicts = []

    for number in range(40):
        desk.now += 5
        machine = replace(SCENE.machine, fmspc=number.to_bytes(6, "big"))
        stranger = replace(SCENE, machine=machine, identity=paper_identity(200 + number))
        verdicts.append(await desk.meet(stranger))

    assert {verdict.cause for verdict in verdicts} == {Cause.COLLATERAL_MISSING}
    assert len(mirror.asked) == FETCHES_MAX
    assert not (tmp_path / "collateral").exists()  # nothing else runs


async def test_evidence_that_the_policy_would_not_look_at_asks_no_mirror(tmp_path: Path) -> None:
    mirror = Mirror(LISTS)
    policy = policy_for(SCENE.body, accept=frozenset({"tdx-dcap-v4+nvgpu"}))
    desk = Desk(tmp_path, mirror, policy=policy)

    for evidence in (SCENE.evidence, simulate(SCENE.statement, NETWORK), b"junk"):
        assert not (await desk.meet(evidence=evidence)).has_passed
    assert mirror.asked == []


async def test_a_peer_that_asks_in_a_loop_is_refused_before_any_work(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Mirror(LISTS))
    for number in range(8):
        await desk.meet(Scene(number=number))

    with pytest.raises(Refused) as refusal:
        await desk.meet(Scene(number=9))
    assert refusal.value.code == "rate-limited"
    assert (await desk.meet(Scene(number=0))).has_passed


async def test_a_new_policy_names_the_verdicts_that_fall(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Mirror(LISTS))
    await desk.meet()

    (change,) = desk.verifier.adopt(policy_for(images=(), epoch=4))

    assert (change.shown.peer, change.after.cause) == (SCENE.peer, Cause.NO_IMAGE_LISTED)
    assert (await desk.meet()) is change.after


async def test_the_policy_of_somebody_who_pinned_none_refuses_the_demos_nodes(tmp_path: Path) -> None:
    desk = Desk(tmp_path, policy=default_policy(NETWORK))

    verdict = await desk.meet(evidence=simulate(SCENE.statement, NETWORK))

    assert (verdict.cause, verdict.level) == (Cause.TYPE_NOT_ACCEPTED, Trust.OPEN)


async def test_a_cancelled_appraisal_leaves_the_next_one_working(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class Slow(Mirror):
        async def fetch(self, platform: Platform, quote: bytes) -> bytes:
            await trio.sleep(5)
            return await super().fetch(platform, quote)

    desk = Desk(tmp_path, Slow(LISTS))
    with trio.move_on_after(1) as scope:
        await desk.meet()

    assert scope.cancelled_caught
    assert (await desk.meet()).has_passed


async def test_a_folder_that_cannot_be_written_costs_only_the_memory_of_lists(tmp_path: Path) -> None:
    (tmp_path / "collateral").write_text("in the way")

    assert (await Desk(tmp_path, Mirror(LISTS)).meet()).has_passed


# ---------------------------------------------------------------- a mirror over HTTP


async def test_lists_come_from_a_mirror_over_http(tmp_path: Path) -> None:
    with serving_lists(LISTS) as url:
        verdict = await Desk(tmp_path, PccsMirror(url)).meet()

    assert verdict.has_passed


@pytest.mark.parametrize("name", ["pckcrl", "tcb", "identity", "rootcacrl"])
@pytest.mark.parametrize(
    "answer",
    [(404, b""), (200, b""), (200, b"[]"), (200, b"{" * 9_000), (200, bytes(70_000)), (200, b"\xff\xfe")],
    ids=["missing", "empty", "a list", "a bomb", "long", "no text"],
)
async def test_a_mirror_that_answers_nonsense_has_no_lists(
    tmp_path: Path, name: str, answer: tuple[int, bytes]
) -> None:
    with serving_lists(LISTS, {name: answer}) as url:
        verdict = await Desk(tmp_path, PccsMirror(url)).meet()

    assert verdict.cause is Cause.COLLATERAL_MISSING


async def test_a_mirror_that_answers_too_much_has_no_lists(tmp_path: Path) -> None:
    fields = json.loads(LISTS)
    answer = f'{{"tcbInfo":{fields["tcb_info"]},"signature":"{fields["tcb_info_signature"]}"}}'

    for padding, level in ((0, Trust.TDX), (70_000, Trust.OPEN)):
        with serving_lists(LISTS, {"tcb": (200, answer.encode() + b" " * padding)}) as url:
            verdict = await Desk(tmp_path / str(padding), PccsMirror(url)).meet()
        assert verdict.level is level


async def test_a_mirror_that_is_not_there_has_no_lists() -> None:
    with serving_lists(LISTS) as url:
        pass

    with pytest.raises(Unavailable):
        await PccsMirror(url).fetch(Platform("00deadbeef00", "platform"), b"")


@pytest.mark.parametrize("url", ["", "ftp://host", "https://", "host", "https://host/?a", "https://host/#a"])
def test_an_address_that_is_no_mirrors_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        PccsMirror(url)
