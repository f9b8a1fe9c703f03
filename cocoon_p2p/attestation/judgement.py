"""The second half of an appraisal: what the findings are worth under a policy.

Gates are asked in order, and the first that does not let the findings through is the
verdict's cause. The vector is filled claim by claim, whatever the cause was. No signature is
checked here, so a new policy can judge a thousand old findings at once.
"""

from collections.abc import Callable, Iterator

from cocoon_p2p.attestation.configuration import CONFIGURATION_EVENT, stays_inside
from cocoon_p2p.attestation.evidence import SIM, SIM_WARNING, RuntimeEvent
from cocoon_p2p.attestation.examination import Findings
from cocoon_p2p.attestation.gpu import GpuFacts
from cocoon_p2p.attestation.policy import ATTRIBUTES_DEBUG, GRACE_SECONDS, GpuFirmware, Image, Policy
from cocoon_p2p.attestation.quote import TdFacts
from cocoon_p2p.attestation.verdict import Cause, Fault, Gate, Tri, Vector, Verdict
from cocoon_p2p.protocols.ids import Role, Trust

_REFUSED_SECONDS = 60.0
"How long a refusal is remembered: long enough that asking again in a loop costs us nothing."

Neighbours = Callable[[bytes], int]
"How many other peers a platform bears already."


def judge(found: Findings, policy: Policy, *, now: float, neighbours: Neighbours | None = None) -> Verdict:
    """Appraise findings.

    Args:
        found: What `examine` found, now or earlier.
        policy: What is accepted.
        now: Seconds since the Unix epoch.
        neighbours: Counts peers on a platform; None where no cap is to be held.

    Returns:
        The verdict: a level, a vector and, unless all gates were passed, the first cause.
    """
    fault = next(_faults(found, policy, now, neighbours), Fault(Cause.PASSED))
    image = _image(found, policy)
    has_passed = fault.cause is Cause.PASSED
    return Verdict(
        cause=fault.cause,
        detail=fault.detail,
        level=_level(found, fault),
        vector=_vector(found, policy, neighbours),
        peer=found.peer,
        role=None if found.statement is None else found.statement.role,
        evidence_type="" if found.evidence is None else found.evidence.type,
        policy_epoch=policy.epoch,
        policy_digest=policy.digest,
        since=found.now,
        until=_until(found, policy) if has_passed else min(_until(found, policy), now + _REFUSED_SECONDS),
        image="" if image is None else f"{image.name} ({image.build})",
        configuration=found.configuration,
        platform=b"" if found.td is None else found.td.platform,
        tcb_status="" if found.td is None else found.td.status,
        advisories=() if found.td is None else found.td.advisories,
        warnings=tuple(_warnings(found, policy, now)),
    )


def _faults(found: Findings, policy: Policy, now: float, neighbours: Neighbours | None) -> Iterator[Fault]:
    """Ask the gates in their order."""
    if found.fault is not None and found.fault.cause.gate <= Gate.FRESHNESS:
        yield found.fault
    if found.statement is not None and found.statement.expires <= now:
        yield Fault(Cause.EXPIRED, f"by={now - found.statement.expires:.0f} seconds")
    if now >= policy.expires + GRACE_SECONDS:
        yield Fault(Cause.POLICY_EXPIRED, f"by={now - policy.expires:.0f} seconds")
    if found.evidence is not None:
        yield from _type_faults(found.evidence.type, policy)
    if found.fault is not None:
        yield found.fault
    if found.td is not None:
        yield from _quote_faults(found.td, policy, now)
        yield from _image_faults(found, found.td, policy)
    if not found.keys_bound:
        yield Fault(Cause.KEYS_NOT_BOUND, "the report data are not this statement's")
    yield from _configuration_faults(found, policy)
    if found.td is not None:
        yield from _platform_faults(found.td.platform, policy, neighbours)
    yield from _gpu_faults(found, policy)


def _type_faults(kind: str, policy: Policy) -> Iterator[Fault]:
    if kind not in policy.accept:
        yield Fault(Cause.TYPE_NOT_ACCEPTED, f"type={kind}")
    elif kind == SIM and not policy.allow_insecure:
        yield Fault(Cause.TYPE_NOT_ACCEPTED, f"type={kind}, and the policy does not allow what is insecure")


def _quote_faults(td: TdFacts, policy: Policy, now: float) -> Iterator[Fault]:
    if td.collateral_expires <= now:
        yield Fault(Cause.COLLATERAL_STALE, f"by={now - td.collateral_expires:.0f} seconds")
    yield from _tcb_faults(td, policy)
    if td.attributes & ATTRIBUTES_DEBUG:
        yield Fault(Cause.DEBUG, f"attributes={td.attributes:#x}")
    if td.attributes & ~policy.attributes_allowed or policy.attributes_required & ~td.attributes:
        yield Fault(Cause.ATTRIBUTES, f"attributes={td.attributes:#x}")


def _tcb_faults(td: TdFacts, policy: Policy) -> Iterator[Fault]:
    if td.status not in policy.statuses:
        yield Fault(Cause.TCB_STATUS, f"status={td.status}")
    if refused := policy.refused_advisories.intersection(td.advisories):
        yield Fault(Cause.ADVISORY, " ".join(sorted(refused))[:160])
    if td.evaluation_number < policy.evaluation_minimum:
        yield Fault(
            Cause.EVALUATION_TOO_OLD, f"number={td.evaluation_number} minimum={policy.evaluation_minimum}"
        )


def _image_faults(found: Findings, td: TdFacts, policy: Policy) -> Iterator[Fault]:
    if not policy.images:
        yield Fault(Cause.NO_IMAGE_LISTED, "the policy lists no image, so it accepts none")
    image = _image(found, policy)
    if image is None:
        yield Fault(Cause.IMAGE_NOT_LISTED, f"mrtd={td.mrtd.hex()[:16]}… rtmr2={td.rtmrs[2].hex()[:16]}…")
    if not found.is_log_replayed:
        yield Fault(Cause.LOG_DOES_NOT_REPLAY, f"rtmr3={td.rtmrs[3].hex()[:16]}…")
    if image is not None and found.evidence is not None:
        yield from _event_faults(found.evidence.events, image)


def _event_faults(events: tuple[RuntimeEvent, ...], image: Image) -> Iterator[Fault]:
    seen: set[str] = set()
    for event in events:
        if event.name in seen:
            yield Fault(Cause.EVENT_NOT_ALLOWED, f"{event.name} is logged twice")
        seen.add(event.name)
        if event.name not in image.events:
            # The configuration has gates of its own; a list may narrow it further.
            if event.name != CONFIGURATION_EVENT:
                yield Fault(Cause.EVENT_NOT_ALLOWED, f"{event.name} is not listed")
            continue
        payloads = image.events[event.name]
        if payloads is not None and event.payload not in payloads:
            yield Fault(Cause.EVENT_NOT_ALLOWED, f"{event.name} has a payload that is not listed")
    for name, payloads in image.events.items():
        if payloads is not None and name not in seen:
            yield Fault(Cause.EVENT_NOT_ALLOWED, f"{name} is not logged")


def _configuration_faults(found: Findings, policy: Policy) -> Iterator[Fault]:
    fault, configuration = found.configuration_fault, found.configuration
    is_worker = found.statement is None or found.statement.role is Role.WORKER
    must_have_one = is_worker and found.td is not None
    # A proxy sees no prompts and a simulation proves nothing: they need none, but may not lie about one.
    if fault is not None and (must_have_one or fault.cause is not Cause.CONFIGURATION_MISSING):
        yield fault
    if configuration is None:
        return
    if not stays_inside(configuration.upstream):
        yield Fault(Cause.UPSTREAM_OUTSIDE, f"upstream={configuration.upstream}")
    if configuration.log_level not in policy.log_levels:
        yield Fault(Cause.LOG_LEVEL, f"level={configuration.log_level}")


def _platform_faults(platform: bytes, policy: Policy, neighbours: Neighbours | None) -> Iterator[Fault]:
    if platform in policy.platforms_denied:
        yield Fault(Cause.PLATFORM_DENIED, f"platform={platform.hex()}")
    if policy.platforms_allowed is not None and platform not in policy.platforms_allowed:
        yield Fault(Cause.PLATFORM_NOT_LISTED, f"platform={platform.hex()}")
    cap = policy.peers_per_platform
    if cap is not None and neighbours is not None and (others := neighbours(platform)) >= cap:
        yield Fault(Cause.PLATFORM_FULL, f"peers={others} max={cap} platform={platform.hex()}")


def _gpu_faults(found: Findings, policy: Policy) -> Iterator[Fault]:
    if found.td is None:
        return
    if found.gpu_fault is not None:
        yield found.gpu_fault
    needs = found.configuration is not None and found.configuration.needs_gpu_evidence
    is_worker = found.statement is None or found.statement.role is Role.WORKER
    if not found.gpus and (needs or (policy.is_gpu_required and is_worker)):
        yield Fault(Cause.GPU_MISSING, "the engine computes on a GPU that nothing vouches for")
    for gpu in found.gpus:
        yield from _firmware_faults(gpu, policy)


def _firmware_faults(gpu: GpuFacts, policy: Policy) -> Iterator[Fault]:
    if gpu.device in policy.gpus_denied:
        yield Fault(Cause.GPU_DENIED, f"device={gpu.device.hex()[:16]}…")
    if not any(_is_listed(gpu, firmware) for firmware in policy.gpus):
        yield Fault(Cause.GPU_NOT_LISTED, f"driver={gpu.driver[:32]} vbios={gpu.vbios}")


def _is_listed(gpu: GpuFacts, firmware: GpuFirmware) -> bool:
    return (gpu.driver, gpu.vbios) == (firmware.driver, firmware.vbios) and all(
        gpu.measurements.get(index) in accepted for index, accepted in firmware.measurements.items()
    )


def _image(found: Findings, policy: Policy) -> Image | None:
    """Find the listed image that runs, for the role that the statement names."""
    if found.td is None:
        return None
    td = found.td
    for image in policy.images:
        measured = (image.mrtd, image.rtmr0, image.rtmr1, image.rtmr2, image.mr_config_id)
        is_role = found.statement is None or found.statement.role is image.role
        if is_role and measured == (td.mrtd, *td.rtmrs[:3], td.mr_config_id) and not any(td.mr_owner):
            return image
    return None


def _level(found: Findings, fault: Fault) -> Trust | None:
    if fault.cause.gate <= Gate.FRESHNESS:
        return None
    if fault.cause is not Cause.PASSED:
        return Trust.OPEN
    if found.td is None:
        assert found.evidence is not None
        assert found.evidence.type == SIM
        return Trust.SIM
    return Trust.TDX_GPU if found.gpus else Trust.TDX


def _until(found: Findings, policy: Policy) -> float:
    ends = [policy.expires + GRACE_SECONDS]
    if found.statement is not None:
        ends.append(float(found.statement.expires))
    if found.td is not None:
        ends.append(found.td.collateral_expires)
    return min(ends)


def _vector(found: Findings, policy: Policy, neighbours: Neighbours | None) -> Vector:
    td = found.td
    if td is None:
        return _vector_without_quote(found)
    has_keys = found.statement is not None
    return Vector(
        hardware=Tri.AFFIRMED,
        tcb=_tri(_tcb_faults(td, policy)),
        image=_image_claim(found, td, policy),
        keys=(Tri.AFFIRMED if found.keys_bound else Tri.REFUTED) if has_keys else Tri.UNKNOWN,
        gpu=_gpu_claim(found, policy),
        platform=_platform_claim(td.platform, policy, neighbours),
    )


def _vector_without_quote(found: Findings) -> Vector:
    cause = None if found.fault is None else found.fault.cause
    if cause in (Cause.QUOTE_INVALID, Cause.WRONG_KIND):
        return Vector(hardware=Tri.REFUTED)
    if cause is Cause.TCB_STATUS:
        return Vector(tcb=Tri.REFUTED)
    if cause in (Cause.DEBUG, Cause.ATTRIBUTES):
        return Vector(image=Tri.REFUTED)
    # A simulation can be wrong about its keys; it cannot be right, since anybody can make it.
    is_simulated = found.evidence is not None and found.evidence.type == SIM
    if is_simulated and found.statement is not None and not found.keys_bound:
        return Vector(keys=Tri.REFUTED)
    return Vector()


def _image_claim(found: Findings, td: TdFacts, policy: Policy) -> Tri:
    if not policy.images:
        return Tri.UNKNOWN
    faults = [*_image_faults(found, td, policy), *_configuration_faults(found, policy)]
    wrong = td.attributes & (ATTRIBUTES_DEBUG | ~policy.attributes_allowed)
    missing = policy.attributes_required & ~td.attributes
    return Tri.REFUTED if faults or wrong or missing else Tri.AFFIRMED


def _gpu_claim(found: Findings, policy: Policy) -> Tri:
    if found.gpu_fault is not None:
        return Tri.REFUTED
    if not found.gpus:
        return Tri.UNKNOWN
    faults = [fault for gpu in found.gpus for fault in _firmware_faults(gpu, policy)]
    if not policy.gpus and all(fault.cause is Cause.GPU_NOT_LISTED for fault in faults):
        return Tri.UNKNOWN
    return Tri.REFUTED if faults else Tri.AFFIRMED


def _platform_claim(platform: bytes, policy: Policy, neighbours: Neighbours | None) -> Tri:
    if any(_platform_faults(platform, policy, neighbours)):
        return Tri.REFUTED
    return Tri.UNKNOWN if policy.platforms_allowed is None else Tri.AFFIRMED


def _tri(faults: Iterator[Fault]) -> Tri:
    return Tri.REFUTED if any(faults) else Tri.AFFIRMED


def _warnings(found: Findings, policy: Policy, now: float) -> Iterator[str]:
    if found.evidence is not None and found.evidence.type == SIM:
        yield SIM_WARNING
    if policy.expires <= now < policy.expires + GRACE_SECONDS:
        left = (policy.expires + GRACE_SECONDS - now) / 86400
        yield f"the policy is past its date; in {left:.0f} days it will accept nothing"
