"""What a node serves and what it takes for proof: its engine makes a token, its policy still holds."""

import os
from collections.abc import Sequence

import trio

from cocoon_p2p.attestation import Pins, accept_policy
from cocoon_p2p.attestation.makers import configfs, dstack
from cocoon_p2p.config import AttestationSection, Loaded, TrustSection, WorkerFile
from cocoon_p2p.diagnosis.finding import Finding, Severity
from cocoon_p2p.diagnosis.patient import Patient
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import network_id
from cocoon_p2p.inference.engine import ChatMessage, Engine, EngineError, GenerateRequest, ModelCard
from cocoon_p2p.inference.measuring.workload import Workload
from cocoon_p2p.node.self_checks import Insides
from cocoon_p2p.protocols.ids import STATEMENT_LIFETIME_MAX_SECONDS, Kind
from cocoon_p2p.worker import Worker
from cocoon_p2p.worker.slots import Slots

LATELY = 5
"Exchanges in a row that must have failed before that says something."

EXPIRES_SOON_SECONDS = 7 * 24 * 3600.0


async def check_engine(patient: Patient) -> Sequence[Finding]:
    """Have each model of a worker say something: the running one's, else by loading them here."""
    if patient.role != "worker":
        return []
    if patient.insides is not None:
        return await _try_running(patient.insides)
    if patient.snapshot is not None:
        return []
    from cocoon_p2p.node.engine import open_engine

    loaded: Loaded[WorkerFile] = patient.loaded
    async with open_engine(loaded, _say_nothing) as engine:
        return [await _try(engine, card) for card in engine.capabilities.models]


async def _try_running(insides: Insides) -> Sequence[Finding]:
    """Try a worker's engine while nobody is served; a client who comes meanwhile has it at once."""
    worker, engine = insides.showing.seller, insides.engine
    if engine is None or not isinstance(worker, Worker):
        return [Finding("engine", Severity.FINE, "it is being opened")]
    lately = judge_outcomes([entry.outcome for entry in insides.showing.journal.latest(LATELY)])
    if lately is not None:
        return [lately]
    if not engine.capabilities.slots:
        text, remedy = "no engine computes anything now", "it is started again; the log says why it ended"
        return [Finding("engine", Severity.FAILURE, text, remedy)]
    found: list[Finding] = []
    if not worker.slots.is_busy:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_once_busy, worker.slots, nursery.cancel_scope)
            found = [await _try(engine, card) for card in engine.capabilities.models]
            nursery.cancel_scope.cancel()
    return found or [Finding("engine", Severity.FINE, f"busy: {worker.slots.running} exchanges run")]


async def _cancel_once_busy(slots: Slots, scope: trio.CancelScope) -> None:
    while not slots.is_busy:
        await slots.changed.wait()
    scope.cancel()


def judge_outcomes(outcomes: Sequence[str]) -> Finding | None:
    """Judge how the last exchanges ended; None: too few of them, or some as they should."""
    # Who breaks off has had what he wanted, or did not want it any more.
    if len(outcomes) < LATELY or any(outcome in ("finished", "cancelled") for outcome in outcomes):
        return None
    text = f"none of the last {len(outcomes)} exchanges came to its end; the last: {outcomes[0]}"
    return Finding(
        "engine", Severity.FAILURE, text, "look for what ended them in the log; try `cocoon bench`"
    )


def _say_nothing(step: str, **facts: object) -> None:
    """Tell nobody of the steps."""


async def _try(engine: Engine, card: ModelCard) -> Finding:
    began, says = trio.current_time(), False
    writes = card.kind in (Kind.CHAT, Kind.COMPLETION)
    try:
        async with engine.generate(_question(card)) as pieces:
            async for piece in pieces:
                # In noise there may be no word to write down.
                says |= bool(piece.text.strip() if writes else piece.vectors or piece.finish)
    except EngineError as exc:
        remedy = "the log says more; start the worker again, and try `cocoon bench`"
        return Finding("engine", Severity.FAILURE, f"{card.name} fails: {exc}", remedy)
    seconds = trio.current_time() - began
    if not says:
        remedy = "try it with `cocoon bench`; its file may be damaged: `cocoon model verify`"
        return Finding("engine", Severity.FAILURE, f"{card.name} has nothing to say", remedy)
    return Finding("engine", Severity.FINE, f"{card.name} answers within {seconds:.1f} s")


def _question(card: ModelCard) -> GenerateRequest:
    if card.kind is Kind.CHAT:
        return GenerateRequest(card.name, (ChatMessage("user", "Hello"),), completion_tokens_max=8)
    return Workload(card, os.urandom).request(1, 8)


async def check_policy(patient: Patient) -> Sequence[Finding]:
    """Say whether the policy is signed as the file demands, and for how long it holds."""
    section: TrustSection | None = patient.section("trust")
    if section is None or not section.policy:
        return []
    path = patient.loaded.resolve(section.policy)
    try:
        data = await trio.Path(path).read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror}", hint="check [trust] policy") from exc
    policy = accept_policy(
        data,
        pins=Pins(frozenset(map(bytes.fromhex, section.keys)), section.needed),
        network=network_id(patient.loaded.settings.network.name),
        now=patient.now(),
        seen=None,
    )
    return [judge_expiry(policy.expires - patient.now())]


def judge_expiry(left_seconds: float) -> Finding:
    """Judge how long a policy still holds."""
    if left_seconds > EXPIRES_SOON_SECONDS:
        return Finding("policy", Severity.FINE, f"holds for {left_seconds / 86_400:.0f} more days")
    remedy = "ask whoever signs it for the next one: `cocoon attest policy sign`"
    if left_seconds > 0:
        text = f"expires in {left_seconds / 3600:.0f} hours"
        return Finding("policy", Severity.WARNING, text, remedy)
    text = f"expired {-left_seconds / 3600:.0f} hours ago"
    return Finding("policy", Severity.FAILURE, text, remedy)


async def check_attestation(patient: Patient) -> Sequence[Finding]:
    """Say whether what a node says of its keys, and what proves it, is renewed in time."""
    await trio.lowlevel.checkpoint()
    section: AttestationSection | None = patient.section("attestation")
    if section is None:
        return []
    if patient.insides is not None:
        seller = patient.insides.showing.seller
        expires = None if seller is None else seller.statement_expires
        return [] if expires is None else [judge_statement(expires - patient.now(), section.evidence)]
    device = {"configfs": configfs.REPORTS, "dstack": dstack.SOCKET}.get(section.evidence)
    if device is not None and not device.exists():
        text = f"[attestation] evidence is {section.evidence}, and there is no {device} on this machine"
        remedy = 'run it in a TDX domain that has it (in a container: mount it), or say `evidence = "none"`'
        return [Finding("attestation", Severity.FAILURE, text, remedy)]
    return [Finding("attestation", Severity.FINE, _proof(section.evidence))]


def _proof(evidence: str) -> str:
    return {"none": "nothing proves this machine", "sim": "a simulation, which proves nothing"}.get(
        evidence, f"proven through {evidence}"
    )


def judge_statement(left_seconds: float, evidence: str) -> Finding:
    """Judge how long what a node says of its keys still holds; it is renewed at half its life."""
    text = f"{_proof(evidence)}; its papers hold for {left_seconds / 3600:.1f} hours"
    if left_seconds > STATEMENT_LIFETIME_MAX_SECONDS / 4:
        return Finding("attestation", Severity.FINE, text)
    remedy = "look for `no evidence for` in the log: does the machine still answer? is its clock right?"
    severity = Severity.WARNING if left_seconds > 0 else Severity.FAILURE
    return Finding("attestation", severity, text if left_seconds > 0 else "its papers have run out", remedy)
