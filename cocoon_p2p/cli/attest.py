"""`cocoon attest`: look at evidence, verify it offline, read and sign policies."""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path

import click

from cocoon_p2p.attestation import (
    VENDOR_ROOTS,
    Collateral,
    Evidence,
    Findings,
    Pins,
    Policy,
    accept_policy,
    decode_evidence,
    default_policy,
    encode_evidence,
    examine,
    judge,
    read_collateral,
    sign_policy,
)
from cocoon_p2p.attestation.evidence import TDX
from cocoon_p2p.attestation.examination import examine_alone
from cocoon_p2p.attestation.files import replace_file
from cocoon_p2p.attestation.policy import NEVER
from cocoon_p2p.attestation.policy_file import POLICY_SIZE_MAX_BYTES, read_policy, signers, split_policy
from cocoon_p2p.attestation.quote import claimed_report_data, claimed_rtmr3, trim_quote
from cocoon_p2p.cli.verdicts import (
    Facts,
    evidence_facts,
    policy_facts,
    print_facts,
    print_verdict,
    verdict_facts,
)
from cocoon_p2p.errors import AttestationFailed, ConfigurationError, MalformedMessage
from cocoon_p2p.identity import network_id, peer_id_of
from cocoon_p2p.keyfile import load_or_create
from cocoon_p2p.protocols.ids import (
    COLLATERAL_SIZE_MAX_BYTES,
    EVIDENCE_SIZE_MAX_BYTES,
    PAPER_SIZE_MAX_BYTES,
    TD_QUOTE_SIZE_MAX_BYTES,
)
from cocoon_p2p.protocols.messages import KeyStatement, Signed
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.protocols.schema import decode_paper

_FAILED = 5
"The exit code of evidence that no policy passed."

_file = click.Path(dir_okay=False, path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def attest() -> None:
    """Look at evidence, verify it offline, read and sign policies."""


@attest.command()
@click.argument("file", type=_file)
@_json
def show(file: Path, as_json: bool) -> None:
    """Show what FILE claims: evidence, or a bare TDX quote. Nothing is verified."""
    evidence = _read_evidence(file)
    facts = dict(evidence_facts(evidence))
    if evidence.quote is not None:
        facts["report_data"] = claimed_report_data(evidence.quote).hex()
        facts["rtmr3"] = claimed_rtmr3(evidence.quote).hex()
    _print({"verified": False, **facts}, as_json)


@attest.command()
@click.argument("file", type=_file)
@click.option("--collateral", "collateral_file", type=_file, help="Intel's lists, in dcap-qvl's JSON.")
@click.option("--statement", "statement_file", type=_file, help="The signed key statement it speaks for.")
@click.option("--policy", "policy_file", type=_file, help="A signed policy; without one nothing passes.")
@click.option("--pin", "pins", multiple=True, help="A key that the policy must be signed by (64 hex digits).")
@click.option("--pins-needed", type=int, help="How many of the pinned keys must have signed; default all.")
@click.option("--at", "at", type=float, help="Seconds since the Unix epoch; default now.")
@click.option("--network", "network", default="mainnet", help="Whose statement it is, without a policy.")
@_json
def verify(
    file: Path,
    collateral_file: Path | None,
    statement_file: Path | None,
    policy_file: Path | None,
    pins: tuple[str, ...],
    pins_needed: int | None,
    at: float | None,
    network: str,
    as_json: bool,
) -> None:
    """Verify FILE, evidence or a bare TDX quote, and print the verdict field by field.

    The exit code is 0 only where a policy passes it; that takes a policy, the keys that you
    pin for it, and the key statement that the evidence speaks for.
    """
    now = time.time() if at is None else at
    if not 0 <= now <= NEVER:
        raise ConfigurationError(f"--at is no time (got={at})")
    policy = default_policy(network_id(network))
    if policy_file is not None:
        policy = _read_pinned(policy_file, read_pins(pins, pins_needed), now)
    try:
        found = _examine(
            _read_evidence(file),
            read_collateral_file(collateral_file),
            _read_statement(statement_file),
            policy,
            now,
        )
    except MalformedMessage as exc:
        raise AttestationFailed(f"nothing can be verified: {exc}") from exc
    verdict = judge(found, policy, now=now)
    if as_json:
        _print(verdict_facts(verdict, found), as_json)
    else:
        print_verdict(verdict, found)
    if not verdict.has_passed:
        sys.exit(_FAILED)


@attest.group()
def policy() -> None:
    """Read and sign policies."""


@policy.command("show")
@click.argument("file", type=_file)
@_json
def policy_show(file: Path, as_json: bool) -> None:
    """Show a policy, and whose signatures on it hold. Whether to trust those is yours to say."""
    split = split_policy(_read(file, POLICY_SIZE_MAX_BYTES))
    read = read_policy(split)
    _print(policy_facts(read, signers(split, read.network)), as_json)


@policy.command("sign")
@click.argument("file", type=_file)
@click.option("--key", "key_file", type=_file, required=True, help="Your key; made if there is none.")
def policy_sign(file: Path, key_file: Path) -> None:
    """Sign a policy: a line is added at the end of FILE, or ours there is replaced."""
    data = _read(file, POLICY_SIZE_MAX_BYTES)
    # What cannot be signed makes no key.
    read_policy(split_policy(data))
    signer = load_or_create(key_file)
    signed = sign_policy(data, signer)
    try:
        mode = file.stat().st_mode & 0o777
        replace_file(file, signed)
        file.chmod(mode)
    except OSError as exc:
        raise ConfigurationError(f"cannot write {file}: {exc.strerror}") from exc
    click.echo(f"signed by {signer.public_key.hex()}")


# ---------------------------------------------------------------- reading


def _read(file: Path, size_max_bytes: int) -> bytes:
    """Read a file, or one byte more than is allowed: then its reader says that it is too long."""
    try:
        with file.open("rb") as stream:
            return stream.read(size_max_bytes + 1)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror}") from exc


def _read_evidence(file: Path) -> Evidence:
    """Read evidence, or a quote as other tools save it: its bytes, or those in hexadecimal."""
    data = _read(file, EVIDENCE_SIZE_MAX_BYTES)
    try:
        return decode_evidence(data)
    except MalformedMessage as exc:
        failure = exc
    with suppress(ValueError):
        data = bytes.fromhex(data.decode("ascii").strip())
    quote = trim_quote(data)
    # A quote of another kind is shown, and refused, as what it is.
    if quote[1:2] == b"\0" and 2 <= quote[0] <= 5 and len(quote) <= TD_QUOTE_SIZE_MAX_BYTES:
        return Evidence(type=TDX, events=(), gpus=(), quote=quote)
    raise failure


def read_collateral_file(file: Path | None) -> Collateral | None:
    """Read Intel's lists, if a file is named. Raises `ConfigurationError`, or `MalformedMessage`."""
    return None if file is None else read_collateral(_read(file, COLLATERAL_SIZE_MAX_BYTES))


def _read_statement(file: Path | None) -> Signed | None:
    return None if file is None else decode_signed(_read(file, PAPER_SIZE_MAX_BYTES + 128))


def read_pins(keys: tuple[str, ...], needed: int | None) -> Pins:
    """Read the keys that a policy must be signed by, and how many of them. Raises `ConfigurationError`."""
    if not keys:
        raise ConfigurationError(
            "no key is pinned, so no policy can be taken", hint="name the keys that you trust with --pin KEY"
        )
    try:
        pinned = frozenset(map(bytes.fromhex, keys))
    except ValueError:
        raise ConfigurationError("a pinned key is 64 hexadecimal digits") from None
    return Pins(pinned, len(pinned) if needed is None else needed)


def _read_pinned(file: Path, pins: Pins, now: float) -> Policy:
    """Take a policy for the network that it names, if the pinned keys signed it."""
    data = _read(file, POLICY_SIZE_MAX_BYTES)
    network = read_policy(split_policy(data)).network
    return accept_policy(data, pins=pins, network=network, now=now, seen=None)


def _examine(
    evidence: Evidence, collateral: Collateral | None, statement: Signed | None, policy: Policy, now: float
) -> Findings:
    if statement is None:
        return examine_alone(evidence, collateral=collateral, now=now, roots=VENDOR_ROOTS)
    # Nobody is at the other end of a file: it is taken for whom it says.
    stated = decode_paper(KeyStatement, statement.body)
    return examine(
        statement,
        encode_evidence(evidence),
        network=policy.network,
        peer=peer_id_of(stated.identity_key),
        role=stated.role,
        collateral=collateral,
        now=now,
        roots=VENDOR_ROOTS,
    )


def _print(facts: Facts, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        print_facts(facts)
