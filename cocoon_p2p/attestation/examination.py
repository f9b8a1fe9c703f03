"""The first half of an appraisal: what evidence proves, before anybody's policy is asked.

Everything that costs signatures is done here, once. The findings are kept with the verdict,
so that a new policy can be applied to them without asking the peer, or the machine, again.
"""

from dataclasses import dataclass, field, replace

from cocoon_p2p.attestation.collateral import Collateral
from cocoon_p2p.attestation.configuration import (
    CONFIGURATION_EVENT,
    MeasuredConfiguration,
    configuration_hash,
    read_configuration,
)
from cocoon_p2p.attestation.events import replay
from cocoon_p2p.attestation.evidence import Evidence, decode_evidence, gpu_nonce, report_data
from cocoon_p2p.attestation.gpu import GpuFacts, GpuRefused, verify_gpu
from cocoon_p2p.attestation.policy import NEVER
from cocoon_p2p.attestation.quote import QuoteRefused, TdFacts, verify_quote
from cocoon_p2p.attestation.roots import VENDOR_ROOTS, Roots
from cocoon_p2p.attestation.verdict import Cause, Fault
from cocoon_p2p.errors import LocalProtocolError, MalformedMessage, RecordRejected
from cocoon_p2p.identity import NetworkId, PeerId, peer_id_of
from cocoon_p2p.protocols.ids import CLOCK_SKEW_SECONDS, STATEMENT_LIFETIME_MAX_SECONDS, Role
from cocoon_p2p.protocols.messages import KeyStatement, Signed
from cocoon_p2p.protocols.papers import check_own


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What evidence proves, and where looking at it came to an end."""

    now: float
    "When it was looked at, in seconds since the Unix epoch."

    statement: KeyStatement | None = None
    "None: not even the statement holds."

    evidence: Evidence | None = field(default=None, repr=False)
    fault: Fault | None = None
    "What ended it early, up to and with the quote."

    td: TdFacts | None = None
    keys_bound: bool = False
    "The quote (or the simulation) speaks for this very statement."

    is_log_replayed: bool = False
    "RTMR3 is what the log comes to."

    configuration: MeasuredConfiguration | None = None
    configuration_fault: Fault | None = None
    gpus: tuple[GpuFacts, ...] = ()
    gpu_fault: Fault | None = None

    @property
    def peer(self) -> PeerId | None:
        return None if self.statement is None else peer_id_of(self.statement.identity_key)


def examine(
    statement: Signed,
    evidence: bytes | None,
    *,
    network: NetworkId,
    peer: PeerId,
    role: Role,
    collateral: Collateral | None,
    now: float,
    roots: Roots = VENDOR_ROOTS,
) -> Findings:
    """Find out what evidence proves about the peer that it came for.

    Args:
        statement: The key statement, as it came.
        evidence: The evidence, as it came from anywhere; None where the peer shows none.
        network: The network that the statement must be for.
        peer: Whom we deal with: the other end of a connection, or the peer of a record.
        role: What it must be there.
        collateral: Intel's lists for its platform, if we have them.
        now: Seconds since the Unix epoch.
        roots: Other roots than the vendors', in tests.

    Returns:
        The findings. A lying, broken or unlucky peer is a finding, not an exception.

    Raises:
        LocalProtocolError: `now` is not a time.
    """
    # Written so that a time that is no number is none either.
    if not 0 <= now <= NEVER:
        raise LocalProtocolError(f"not a time (now={now})")
    try:
        stated = check_own(KeyStatement, statement, network=network)
    except (RecordRejected, MalformedMessage) as exc:
        return Findings(now=now, fault=Fault(Cause.STATEMENT_INVALID, f"{exc!s:.160}"))
    if (fault := _statement_fault(stated, peer, role, now)) is not None:
        return Findings(now=now, statement=stated, fault=fault)
    if evidence is None:
        return Findings(now=now, statement=stated, fault=Fault(Cause.NO_EVIDENCE))
    try:
        shown = decode_evidence(evidence)
    except MalformedMessage as exc:
        return Findings(now=now, statement=stated, fault=Fault(Cause.EVIDENCE_MALFORMED, f"{exc!s:.160}"))
    found = Findings(now=now, statement=stated, evidence=shown)
    found = _examine_configuration(found, shown, stated)
    data = report_data(network, statement)
    if shown.quote is None:
        return replace(found, keys_bound=shown.simulated == data)
    return _examine_hardware(found, shown, shown.quote, data, collateral=collateral, roots=roots)


def examine_alone(
    evidence: Evidence, *, collateral: Collateral | None, now: float, roots: Roots = VENDOR_ROOTS
) -> Findings:
    """Find out what evidence proves of its machine, whoever's it is: for people who look at files.

    The keys stay unbound, so no policy passes it.
    """
    found = _examine_configuration(Findings(now=now, evidence=evidence), evidence, None)
    if evidence.quote is None:
        return found
    return _examine_hardware(found, evidence, evidence.quote, None, collateral=collateral, roots=roots)


def _statement_fault(stated: KeyStatement, peer: PeerId, role: Role, now: float) -> Fault | None:
    if peer_id_of(stated.identity_key) != peer:
        return Fault(Cause.OTHER_PEER, "it speaks for another identity")
    if stated.role is not role:
        return Fault(Cause.OTHER_ROLE, f"got={stated.role.name.lower()} expected={role.name.lower()}")
    if stated.not_before > now + CLOCK_SKEW_SECONDS:
        return Fault(Cause.NOT_YET_VALID, f"by={stated.not_before - now:.0f} seconds")
    lifetime = stated.expires - stated.not_before
    if stated.expires <= now or not 0 < lifetime <= STATEMENT_LIFETIME_MAX_SECONDS:
        return Fault(Cause.EXPIRED, f"by={now - stated.expires:.0f} seconds lifetime={lifetime} seconds")
    return None


def _examine_configuration(found: Findings, shown: Evidence, stated: KeyStatement | None) -> Findings:
    """Read the measured configuration out of the log. Whether the log is true is another question."""
    events = [event for event in shown.events if event.name == CONFIGURATION_EVENT]
    is_stated = stated is not None and stated.configuration_hash != bytes(32)
    if not events:
        cause = Cause.CONFIGURATION_NOT_BOUND if is_stated else Cause.CONFIGURATION_MISSING
        return replace(found, configuration_fault=Fault(cause, "the log has none"))
    try:
        configuration = read_configuration(events[0])
    except MalformedMessage as exc:
        return replace(found, configuration_fault=Fault(Cause.CONFIGURATION_NOT_BOUND, f"{exc!s:.160}"))
    fault: Fault | None = None
    if len(events) > 1:
        fault = Fault(Cause.CONFIGURATION_NOT_BOUND, "the log has more than one")
    elif stated is not None and stated.configuration_hash != configuration_hash(events[0]):
        fault = Fault(Cause.CONFIGURATION_NOT_BOUND, "the statement names another")
    return replace(found, configuration=configuration, configuration_fault=fault)


def _examine_hardware(
    found: Findings,
    shown: Evidence,
    quote: bytes,
    data: bytes | None,
    *,
    collateral: Collateral | None,
    roots: Roots,
) -> Findings:
    """Verify the quote and, only where it holds, the GPUs. `data` is what the quote must bear, if known."""
    if collateral is None:
        return replace(found, fault=Fault(Cause.COLLATERAL_MISSING))
    try:
        td = verify_quote(quote, collateral, now=found.now, root_der=roots.intel_der)
    except QuoteRefused as exc:
        return replace(found, fault=exc.fault)
    found = replace(
        found,
        td=td,
        keys_bound=data is not None and td.report_data == data,
        is_log_replayed=replay(shown.events) == td.rtmrs[3],
    )
    try:
        gpus = tuple(verify_gpu(gpu, now=found.now, roots=roots) for gpu in shown.gpus)
        _check_gpus(gpus, td)
    except GpuRefused as exc:
        return replace(found, gpu_fault=Fault(Cause.GPU_INVALID, f"{exc!s:.160}"))
    return replace(found, gpus=gpus)


def _check_gpus(gpus: tuple[GpuFacts, ...], td: TdFacts) -> None:
    nonce = gpu_nonce(td.report_data)
    if any(gpu.nonce != nonce for gpu in gpus):
        raise GpuRefused("a report answers another quote")
    if len({gpu.device for gpu in gpus}) != len(gpus):
        raise GpuRefused("one GPU is shown twice")
