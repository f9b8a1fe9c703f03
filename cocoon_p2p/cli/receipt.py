"""`cocoon receipt`: check a receipt that a client kept, with nothing but the file."""

import json
import sys
from pathlib import Path

import click

from cocoon_p2p import private_files
from cocoon_p2p.attestation import Pins, Policy, Tri, accept_policy
from cocoon_p2p.cli.attest import read_collateral_file, read_pins
from cocoon_p2p.cli.spell import harmless, trust_text
from cocoon_p2p.errors import ConfigurationError, MalformedMessage, RecordRejected
from cocoon_p2p.identity import NetworkId, PeerId, network_id, peer_id_text
from cocoon_p2p.protocols.exchange.bundle import Bundle, decode_bundle, encode_bundle, redact
from cocoon_p2p.protocols.exchange.findings import Verification
from cocoon_p2p.protocols.exchange.verification import quoted_at, verify_bundle
from cocoon_p2p.protocols.exchange.yardstick import Yardstick
from cocoon_p2p.protocols.ids import BUNDLE_SIZE_MAX_BYTES
from cocoon_p2p.units import Nano, format_ton

_FAILED = 6
"The exit code of a receipt that does not hold."

_UNTRUSTED = 5
"The exit code of one that holds, for a machine that the policy does not pass."

_file = click.Path(dir_okay=False, path_type=Path)
_MARKS = {Tri.AFFIRMED: "yes", Tri.UNKNOWN: "?", Tri.REFUTED: "NO"}


@click.group()
def receipt() -> None:
    """Check receipts that `cocoon ask --receipt` kept."""


@receipt.command()
@click.argument("file", type=_file)
@click.option("--answer", "answer_file", type=_file, help="The answer that was kept, to be held against it.")
@click.option("--network", "network", help="The network that it must be of, by its name.")
@click.option("--policy", "policy_file", type=_file, help="A signed policy to appraise the evidence by.")
@click.option("--pin", "pins", multiple=True, help="A key that the policy must be signed by (64 hex digits).")
@click.option("--pins-needed", type=int, help="How many of the pinned keys must have signed; default all.")
@click.option("--collateral", "collateral_file", type=_file, help="Intel's lists, as they stood then.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the answer if FILE opens it.")
def verify(
    file: Path,
    answer_file: Path | None,
    network: str | None,
    policy_file: Path | None,
    pins: tuple[str, ...],
    pins_needed: int | None,
    collateral_file: Path | None,
    as_json: bool,
) -> None:
    """Check FILE offline: who signed what, whether the sums are right, whose answer it is.

    The exit code is 0 only where nothing is refuted, and an answer that was given is affirmed; 5 where
    all holds but that the policy does not pass the worker's evidence; else 6.
    """
    bundle = _read_bundle(file)
    if network is not None and network_id(network) != bundle.network:
        raise RecordRejected(f"the receipt is not of the network {network!r}")
    yardstick = None
    if policy_file is not None:
        policy = _read_policy(policy_file, read_pins(pins, pins_needed), bundle)
        yardstick = Yardstick(policy, read_collateral_file(collateral_file))
    answer = None if answer_file is None else _read_answer(answer_file)
    found = verify_bundle(bundle, answer=answer, yardstick=yardstick)
    if as_json:
        click.echo(json.dumps(_facts(bundle, found), indent=2))
    else:
        _print(found)
    if not found.holds:
        sys.exit(_UNTRUSTED if found.is_only_untrusted else _FAILED)


@receipt.command("redact")
@click.argument("file", type=_file)
@click.argument("out", type=_file)
def redact_receipt(file: Path, out: Path) -> None:
    """Write FILE to OUT without what opens the answer, and without the limits that the client set.

    The bill can still be checked. OUT may not exist yet.
    """
    private_files.create(out, encode_bundle(redact(_read_bundle(file))))


def _read_bundle(file: Path) -> Bundle:
    try:
        return decode_bundle(_read(file))
    except MalformedMessage as exc:
        raise ConfigurationError(
            f"{file} is not a receipt: {exc}", hint="`cocoon ask --receipt FILE` keeps one"
        ) from exc


def _read_answer(file: Path) -> str:
    try:
        return _read(file).decode()
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{file} is not UTF-8 text") from exc


def _read_policy(file: Path, pins: Pins, bundle: Bundle) -> Policy:
    """Take a policy that the pinned keys signed, for the receipt's network and as of its time."""
    network = NetworkId(bundle.network)
    return accept_policy(_read(file), pins=pins, network=network, now=quoted_at(bundle), seen=None)


def _read(file: Path) -> bytes:
    """Read a file, or one byte more than a receipt can have."""
    try:
        with file.open("rb") as stream:
            return stream.read(BUNDLE_SIZE_MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror}") from exc


def _print(found: Verification) -> None:
    for finding in found.findings:
        # What a worker wrote, its model's name among it, must not look like a finding of ours.
        words = finding.words.replace("\n", " ")
        click.echo(harmless(f"{_MARKS[finding.claim]:>3}  {finding.subject:<11} {words}"))
    if found.settlement is not None and found.holds:
        paid = Nano(found.settlement.worker_amount + found.settlement.commission)
        click.echo(f"The receipt holds: {format_ton(paid)} for this exchange.")
    else:
        click.echo("The receipt does not hold.")


def _facts(bundle: Bundle, found: Verification) -> dict[str, object]:
    """Give everything in JSON's types. Facts are there only as far as their papers hold."""
    settlement, receipt, usage = found.settlement, found.receipt, found.usage
    return {
        "holds": found.holds,
        "findings": [
            {"subject": str(one.subject), "claim": one.claim.name.lower(), "words": one.words}
            for one in found.findings
        ],
        "network": bundle.network.hex(),
        "proxy": peer_id_text(PeerId(bundle.proxy)) if settlement else None,
        "worker": found.worker and peer_id_text(found.worker),
        "level": found.verdict and found.verdict.level and trust_text(found.verdict.level),
        "model": found.offer and found.offer.name,
        "weights_hash": found.offer and found.offer.weights_hash.hex(),
        "engine": receipt and receipt.engine,
        "exchange": settlement and settlement.exchange.hex(),
        "outcome": settlement and settlement.outcome.name.lower(),
        "usage": usage
        and {
            "prompt_tokens": usage.prompt,
            "cached_tokens": usage.cached,
            "completion_tokens": usage.completion,
            "reasoning_tokens": usage.reasoning,
        },
        "client_paid": settlement and settlement.worker_amount + settlement.commission,
        "worker_earned": settlement and settlement.worker_amount,
        "commission": settlement and settlement.commission,
        "started_ms": receipt and receipt.started_ms,
        "ended_ms": receipt and receipt.ended_ms,
        "answer": found.text,
    }
