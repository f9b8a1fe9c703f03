"""What a node serves and what it takes for proof: its engine makes a token, its policy still holds."""

from collections.abc import Sequence

import trio

from cocoon_p2p.attestation import Pins, accept_policy
from cocoon_p2p.config import Loaded, TrustSection, WorkerFile
from cocoon_p2p.diagnosis.finding import Finding, Severity
from cocoon_p2p.diagnosis.patient import Patient
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import network_id
from cocoon_p2p.inference.engine import ChatMessage, Engine, GenerateRequest, ModelCard

ENGINE_PAGE = "README.md#what-serves"
TRUST_PAGE = "docs/trust.md"

EXPIRES_SOON_SECONDS = 7 * 24 * 3600.0


async def check_engine(patient: Patient) -> Sequence[Finding]:
    """Load what a worker serves, unless it runs, and have each model say something."""
    if patient.role != "worker":
        return []
    if patient.peers is not None:
        return [Finding("engine", Severity.FINE, "in use by the running worker, so it was not loaded again")]
    from cocoon_p2p.node.engine import open_engine

    loaded: Loaded[WorkerFile] = patient.loaded
    async with open_engine(loaded, _say_nothing) as engine:
        return [await _try(engine, card) for card in engine.capabilities.models]


def _say_nothing(step: str, **facts: object) -> None:
    """Tell nobody of the steps."""


async def _try(engine: Engine, card: ModelCard) -> Finding:
    began, text = trio.current_time(), ""
    request = GenerateRequest(card.name, (ChatMessage("user", "Hello"),), completion_tokens_max=8)
    async with engine.generate(request) as pieces:
        async for piece in pieces:
            text += piece.text
    seconds = trio.current_time() - began
    if not text.strip():
        remedy = "try it with `cocoon bench`; its file may be damaged: `cocoon model verify`"
        return Finding("engine", Severity.FAILURE, f"{card.name} has nothing to say", remedy, ENGINE_PAGE)
    return Finding("engine", Severity.FINE, f"{card.name} answers within {seconds:.1f} s")


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
        return Finding("policy", Severity.WARNING, text, remedy, TRUST_PAGE)
    text = f"expired {-left_seconds / 3600:.0f} hours ago"
    return Finding("policy", Severity.FAILURE, text, remedy, TRUST_PAGE)
