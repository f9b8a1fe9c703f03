"""How evidence, verdicts and policies are spelled: as plain facts for programs, as lines for people."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

import click

from cocoon_p2p.attestation import Claim, Evidence, Findings, Policy, Tri, Verdict
from cocoon_p2p.attestation.configuration import MeasuredConfiguration
from cocoon_p2p.attestation.gpu import GpuFacts
from cocoon_p2p.attestation.policy import Image
from cocoon_p2p.attestation.quote import TdFacts
from cocoon_p2p.cli.spell import harmless, trust_text
from cocoon_p2p.identity import peer_id_text

Facts = Mapping[str, object]

_COLOURS = {Tri.AFFIRMED: "green", Tri.UNKNOWN: "yellow", Tri.REFUTED: "red"}


def verdict_facts(verdict: Verdict, found: Findings) -> Facts:
    """Give a verdict and what it rests on, in JSON's types."""
    return {
        "has_passed": verdict.has_passed,
        "level": None if verdict.level is None else trust_text(verdict.level),
        "is_insecure": verdict.is_insecure,
        "cause": verdict.cause.code,
        "gate": verdict.cause.gate.name.lower(),
        "detail": verdict.detail,
        "vector": {claim.value: verdict.vector[claim].name.lower() for claim in Claim},
        "peer": verdict.peer and peer_id_text(verdict.peer),
        "role": verdict.role and verdict.role.name.lower(),
        "evidence_type": verdict.evidence_type,
        "image": verdict.image,
        "tcb_status": verdict.tcb_status,
        "advisories": list(verdict.advisories),
        "holds_until": date(verdict.until) if verdict.has_passed else None,
        "policy_epoch": verdict.policy_epoch,
        "policy_digest": verdict.policy_digest.hex(),
        "warnings": list(verdict.warnings),
        "configuration": verdict.configuration and configuration_facts(verdict.configuration),
        "td": found.td and td_facts(found.td),
        "gpus": [gpu_facts(gpu) for gpu in found.gpus],
    }


def td_facts(td: TdFacts) -> Facts:
    """Give what a verified quote says."""
    return {
        "mrtd": td.mrtd.hex(),
        **{f"rtmr{number}": register.hex() for number, register in enumerate(td.rtmrs)},
        "mr_config_id": td.mr_config_id.hex(),
        "attributes": f"{td.attributes:016x}",
        "report_data": td.report_data.hex(),
        "platform": td.platform.hex(),
        "fmspc": td.fmspc,
        "evaluation_number": td.evaluation_number,
        "collateral_holds_until": date(td.collateral_expires),
    }


def gpu_facts(gpu: GpuFacts) -> Facts:
    """Give what a verified GPU report says."""
    return {
        "device": gpu.device.hex(),
        "driver": gpu.driver,
        "vbios": gpu.vbios,
        "measurements": {str(index): digest.hex() for index, digest in gpu.measurements.items()},
    }


def configuration_facts(configuration: MeasuredConfiguration) -> Facts:
    """Give a measured configuration."""
    return {
        "engine": configuration.engine,
        "weights_hash": configuration.weights_hash.hex(),
        "upstream": configuration.upstream,
        "log_level": configuration.log_level,
        "uses_gpu": configuration.uses_gpu,
    }


def evidence_facts(evidence: Evidence) -> Facts:
    """Give what evidence claims, apart from its quote. Nothing of it is verified."""
    return {
        "type": evidence.type,
        "quote_bytes": 0 if evidence.quote is None else len(evidence.quote),
        "events": [{"name": event.name, "payload": event.payload.hex()} for event in evidence.events],
        "gpus": len(evidence.gpus),
        "simulated": evidence.simulated and evidence.simulated.hex(),
        "warning": evidence.warning,
    }


def policy_facts(policy: Policy, signers: tuple[bytes, ...]) -> Facts:
    """Give a policy in JSON's types."""
    allowed = policy.platforms_allowed
    return {
        "epoch": policy.epoch,
        "expires": date(policy.expires),
        "digest": policy.digest.hex(),
        "signed_by": [key.hex() for key in signers],
        "accept": sorted(policy.accept),
        "allow_insecure": policy.allow_insecure,
        "proxies": "attested" if policy.are_proxies_attested else "any",
        "log_levels": sorted(policy.log_levels),
        "statuses": sorted(policy.statuses),
        "refused_advisories": sorted(policy.refused_advisories),
        "evaluation_minimum": policy.evaluation_minimum,
        "attributes_required": f"{policy.attributes_required:016x}",
        "attributes_allowed": f"{policy.attributes_allowed:016x}",
        "platforms_allowed": "any" if allowed is None else sorted(platform.hex() for platform in allowed),
        "platforms_denied": sorted(platform.hex() for platform in policy.platforms_denied),
        "peers_per_platform": policy.peers_per_platform,
        "is_gpu_required": policy.is_gpu_required,
        "gpus": [f"{gpu.name} (driver {gpu.driver}, VBIOS {gpu.vbios})" for gpu in policy.gpus],
        "gpus_denied": sorted(device.hex() for device in policy.gpus_denied),
        "images": [_image_facts(image) for image in policy.images],
    }


def _image_facts(image: Image) -> Facts:
    registers = ("mrtd", "rtmr0", "rtmr1", "rtmr2", "mr_config_id")
    return {
        "name": image.name,
        "build": image.build,
        "role": image.role.name.lower(),
        **{register: getattr(image, register).hex() for register in registers},
        "events": {
            name: "any" if payloads is None else sorted(payload.hex() for payload in payloads)
            for name, payloads in image.events.items()
        },
    }


def date(seconds: float) -> str:
    """Spell a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def print_verdict(verdict: Verdict, found: Findings) -> None:
    """Print a verdict field by field: what it came to, each claim, and what was read."""
    facts = verdict_facts(verdict, found)
    colour = "green" if verdict.has_passed and not verdict.is_insecure else "red"
    _line("passed" if verdict.has_passed else "refused", verdict.detail, colour)
    for warning in verdict.warnings:
        _line("warning", warning, "red")
    for name in ("level", "cause", "gate"):
        _line(name, facts[name] or "nothing")
    for claim in Claim:
        stands = verdict.vector[claim]
        _line(claim.value, stands.name.lower(), _COLOURS[stands])
    shown = {name: facts[name] for name in facts if name not in _SHOWN_ABOVE}
    print_facts({name: value for name, value in shown.items() if value not in (None, "", [])})


_SHOWN_ABOVE = frozenset(
    {"has_passed", "is_insecure", "detail", "warnings", "level", "cause", "gate", "vector"}
)


def print_facts(facts: Facts, indent: int = 0) -> None:
    """Print facts, one a line; what is inside another is indented."""
    for name, value in facts.items():
        inner = _items(value)
        _line(name, "" if inner else "-" if value in (None, "", [], {}) else value, indent=indent)
        for item in inner:
            if isinstance(item, Mapping):
                print_facts(cast(Facts, item), indent + 2)
            else:
                click.echo(f"{' ' * (indent + 2)}{harmless(str(item))}")


def _items(value: object) -> list[object]:
    """Give what a value holds: a list's items, a mapping as the one of itself, nothing of anything else."""
    if isinstance(value, Mapping):
        return [cast(object, value)] if value else []
    return cast("list[object]", value) if isinstance(value, list) else []


def _line(name: str, value: object, colour: str | None = None, *, indent: int = 0) -> None:
    # A peer wrote some of these.
    text = harmless(str(value)).replace("\n", " ")
    click.echo(f"{' ' * indent}{name.replace('_', ' '):<24}{click.style(text, fg=colour)}".rstrip())
