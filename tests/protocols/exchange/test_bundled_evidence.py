"""The evidence in a bundle is appraised by the reader's own policy, as of the time of the quote."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from cocoon_p2p.attestation import Policy, Tri, demo_policy, simulate
from cocoon_p2p.protocols.exchange.bundle import FORMAT, Bundle
from cocoon_p2p.protocols.exchange.findings import Subject, Verification
from cocoon_p2p.protocols.exchange.verification import verify_bundle
from cocoon_p2p.protocols.exchange.yardstick import Yardstick
from cocoon_p2p.protocols.ids import Kind, Outcome, Role, Trust
from cocoon_p2p.protocols.messages import Ask, ChannelId, ExchangeId, Signed, Usage
from cocoon_p2p.protocols.schema import encode_message
from cocoon_p2p.records import make_record, make_statement
from cocoon_p2p.testing.papers import PaperWorker, make_deal, paper_identity, paper_worker
from tests.attestation.scene import NETWORK, NOW, WEIGHTS, Scene, policy_for

SCENE = Scene()
PROXY = paper_identity(50)
EVIDENCE = SCENE.evidence
OFFER = replace(paper_worker(NETWORK, now=NOW).offer, weights_hash=WEIGHTS)
ASK = Ask(
    exchange=ExchangeId(bytes(16)),
    model=OFFER.name,
    kind=Kind.CHAT,
    prompt_tokens_max=256,
    completion_tokens_max=16,
    max_cost=10_000,
    deadline_ms=30_000,
    trust=Trust.TDX,
    prefer=(),
    exclude=(),
    features=(),
    channel=ChannelId(bytes(32)),
)


def bundle_with(
    evidence: bytes | None = EVIDENCE,
    *,
    now: float = NOW,
    statement: Signed | None = None,
    expires: int = int(NOW) + 30,
    **offer: Any,
) -> Bundle:
    """Give the bundle of an exchange with the attested worker that was cancelled at its first token."""
    named = EVIDENCE if evidence is None else evidence
    statement = statement or SCENE.statement
    record = make_record(
        SCENE.identity,
        NETWORK,
        role=Role.WORKER,
        statement=statement,
        addresses=(),
        models=(replace(OFFER, **offer),),
        now=now,
        sequence=1,
        evidence_hash=hashlib.sha256(named).digest(),
    )
    worker = PaperWorker(SCENE.identity, NETWORK, bytes(32), statement, record, replace(OFFER, **offer))
    deal = make_deal(ASK, worker=worker, proxy=PROXY, network=NETWORK, now=now, expires=expires)
    nothing = hashlib.sha256().digest()
    settlement = deal.settle(Usage(10, 0, 0, 0), answer_hash=nothing, outcome=Outcome.CANCELLED)
    return Bundle(
        FORMAT, NETWORK, PROXY.peer_id, deal.quote, settlement, (), encode_message(ASK), evidence=evidence
    )


def yardstick(policy: Policy | None = None, **changes: Any) -> Yardstick:
    measure = Yardstick(policy or policy_for(SCENE.body), SCENE.collateral, SCENE.roots)
    return replace(measure, **changes)


def found(verification: Verification) -> tuple[Tri, str]:
    finding = verification[Subject.EVIDENCE]
    return finding.claim, finding.words


def test_what_the_policy_passes_is_affirmed_with_its_level() -> None:
    verification = verify_bundle(bundle_with(), yardstick=yardstick())

    assert found(verification) == (Tri.AFFIRMED, "level tdx under the policy of epoch 3, as of then")
    assert verification.holds
    assert verification.verdict is not None
    assert verification.verdict.level is Trust.TDX


@pytest.mark.parametrize(
    ("measure", "says"),
    [
        (yardstick(policy_for(images=())), "no-image-listed"),
        (yardstick(collateral=None), "collateral-missing"),
        (Yardstick(policy_for(SCENE.body), SCENE.collateral), "quote-invalid"),
        (yardstick(demo_policy(NETWORK)), "type-not-accepted"),
        (yardstick(policy_for(SCENE.body, expires=NOW - 90 * 86_400)), "policy-expired"),
    ],
)
def test_what_the_policy_does_not_pass_is_refuted_by_that_alone(measure: Yardstick, says: str) -> None:
    verification = verify_bundle(bundle_with(), yardstick=measure)

    claim, words = found(verification)
    assert (claim, verification.holds) == (Tri.REFUTED, False)
    assert says in words
    assert verification.is_only_untrusted


def test_a_machine_that_measured_other_weights_than_were_sold_is_refuted() -> None:
    verification = verify_bundle(bundle_with(weights_hash=bytes(32)), yardstick=yardstick())

    assert found(verification) == (Tri.REFUTED, "evidence: the machine measured other weights")


def test_a_simulation_is_shown_as_one() -> None:
    evidence = simulate(SCENE.statement, NETWORK, events=SCENE.events)

    verification = verify_bundle(bundle_with(evidence), yardstick=yardstick(demo_policy(NETWORK)))

    claim, words = found(verification)
    assert claim is Tri.AFFIRMED
    assert "level sim" in words
    assert "INSECURE" in words


def test_evidence_that_is_not_there_is_unknown_under_any_policy() -> None:
    verification = verify_bundle(bundle_with(None), yardstick=yardstick())

    assert found(verification)[0] is Tri.UNKNOWN
    assert verification.verdict is None


def test_evidence_of_another_statement_is_refuted_though_the_record_names_it() -> None:
    other = replace(SCENE, number=1).evidence

    verification = verify_bundle(bundle_with(other), yardstick=yardstick())

    assert "keys-not-bound" in found(verification)[1]


@pytest.mark.parametrize(("now", "expires"), [(0, 0), (2**62, 2**62 + 30)])
def test_a_time_that_cannot_be_is_a_finding_and_not_a_fault_of_ours(now: int, expires: int) -> None:
    statement = make_statement(
        SCENE.identity, NETWORK, role=Role.WORKER, sealing_key=bytes(32), now=now, nonce=bytes(16)
    )

    bundle = bundle_with(statement=statement, now=now, expires=expires)

    assert not verify_bundle(bundle, yardstick=yardstick()).holds
