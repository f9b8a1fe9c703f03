"""What a node says about itself: its keys (statement) and its offers (record), with dates.

A statement binds keys and configuration and is what a quote of the hardware vouches for. A
record names prices, models and addresses, changes often, and refers to its statement by
hash. Both are signed by the node's identity, so they are worth the same wherever they came
from: a stream, a quote or the DHT.

Spec: protocols/records.md. Vectors: protocols/vectors/papers.json.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple

from cocoon_p2p.errors import ConfigurationError, LocalProtocolError, MalformedMessage, RecordRejected
from cocoon_p2p.identity import (
    Identity,
    NetworkId,
    PeerId,
    network_id,
    parse_peer_id,
    peer_id_of,
    peer_id_text,
)
from cocoon_p2p.protocols.ids import (
    CLOCK_SKEW_SECONDS,
    PROXY_SHARDS,
    RECORD_BODY_MAX_BYTES,
    RECORD_LIFETIME_MAX_SECONDS,
    RECORD_SIZE_MAX_BYTES,
    STATEMENT_LIFETIME_MAX_SECONDS,
    Role,
)
from cocoon_p2p.protocols.messages import KeyStatement, ModelOffer, Record, Signed
from cocoon_p2p.protocols.papers import check_own, decode_signed, paper_hash, sign
from cocoon_p2p.protocols.schema import decode_paper

NOTHING_MEASURED = bytes(32)
"The configuration hash of a node that nothing measures."

CLOCK_HINT = "is this machine's clock right? (timedatectl set-ntp true); if it is, the signer's is wrong"
"For papers whose dates do not fit: most often it is a clock."

# ---------------------------------------------------------------- making


def make_statement(
    identity: Identity,
    network: NetworkId,
    *,
    role: Role,
    sealing_key: bytes,
    now: float,
    nonce: bytes,
    configuration_hash: bytes = NOTHING_MEASURED,
    lifetime_seconds: int = STATEMENT_LIFETIME_MAX_SECONDS,
) -> Signed:
    """State which keys this node uses.

    Args:
        identity: Signs.
        network: The network that the statement is for.
        role: What the node is there.
        sealing_key: The public X25519 key that requests are sealed to.
        now: Seconds since the Unix epoch.
        nonce: 16 random bytes: two statements are never the same paper.
        configuration_hash: What an attested image measured of its configuration.
        lifetime_seconds: At most 24 hours.

    Raises:
        LocalProtocolError: It would live too long, or a field is outside its bound.
    """
    statement = KeyStatement(
        network=network,
        role=role,
        identity_key=identity.public_key,
        sealing_key=sealing_key,
        not_before=int(now),
        expires=_expiry(now, lifetime_seconds, STATEMENT_LIFETIME_MAX_SECONDS),
        nonce=nonce,
        configuration_hash=configuration_hash,
    )
    return sign(identity, network, statement)


def make_record(
    identity: Identity,
    network: NetworkId,
    *,
    role: Role,
    statement: Signed,
    addresses: Sequence[str],
    models: Sequence[ModelOffer],
    now: float,
    sequence: int,
    commission_basis_points: int = 0,
    lifetime_seconds: int = RECORD_LIFETIME_MAX_SECONDS,
    evidence_hash: bytes | None = None,
    catalogue_hash: bytes | None = None,
) -> Signed:
    """Offer models under the keys of `statement`.

    Args:
        identity: Signs.
        network: The network that the record is for.
        role: What the node is there.
        statement: Our own signed statement; the record names it by hash.
        addresses: Multiaddrs where a proxy can be dialled; none for a worker.
        models: What can be bought, each name once.
        now: Seconds since the Unix epoch.
        sequence: Above that of every record signed before; the newest holds.
        commission_basis_points: A proxy's; 0 for a worker.
        lifetime_seconds: At most an hour.
        evidence_hash: SHA-256 of the attestation evidence, where there is some.
        catalogue_hash: SHA-256 of the full list of models, where `models` is cut short.

    Raises:
        LocalProtocolError: What `check_record` would refuse, or a field outside its bound.
    """
    record = Record(
        network=network,
        peer=identity.peer_id,
        role=role,
        statement_hash=paper_hash(statement),
        addresses=tuple(addresses),
        models=tuple(models),
        issued=int(now),
        expires=_expiry(now, lifetime_seconds, RECORD_LIFETIME_MAX_SECONDS),
        sequence=sequence,
        commission_basis_points=commission_basis_points,
        evidence_hash=evidence_hash,
        catalogue_hash=catalogue_hash,
    )
    if (fault := _fault(record)) is not None:
        raise LocalProtocolError(f"record: {fault}")
    signed = sign(identity, network, record)
    if len(signed.body) > RECORD_BODY_MAX_BYTES:
        raise LocalProtocolError(
            f"record: too long (size={len(signed.body)} max={RECORD_BODY_MAX_BYTES} bytes)"
        )
    return signed


# ---------------------------------------------------------------- checking


def check_statement(
    signed: Signed, *, network: NetworkId, now: float, role: Role | None = None
) -> KeyStatement:
    """Verify a statement: its own identity key signed it, for this network, and it is in its dates.

    Args:
        signed: The statement as it came.
        network: The network that it must be for.
        now: Seconds since the Unix epoch.
        role: The role that it must state, if one is expected.

    Raises:
        RecordRejected, MalformedMessage: It is not such a statement.
    """
    statement = check_own(KeyStatement, signed, network=network)
    _check_role("statement", statement.role, role)
    _check_dates(
        "statement", statement.not_before, statement.expires, STATEMENT_LIFETIME_MAX_SECONDS, now=now
    )
    return statement


def check_record(
    signed: Signed,
    *,
    network: NetworkId,
    now: float,
    role: Role | None = None,
    peer: PeerId | None = None,
) -> Record:
    """Verify a record: the peer that it names signed it, for this network, and it is in its dates.

    Whether its statement fits is `check_pair`'s question; whether its offers suit, the reader's.

    Args:
        signed: The record as it came.
        network: The network that it must be for.
        now: Seconds since the Unix epoch.
        role: The role that it must state, if one is expected.
        peer: Whose it must be, if that is known.

    Raises:
        RecordRejected, MalformedMessage: It is not such a record.
    """
    if len(signed.body) > RECORD_BODY_MAX_BYTES:
        raise RecordRejected(f"record: too long (size={len(signed.body)} max={RECORD_BODY_MAX_BYTES} bytes)")
    record = check_own(Record, signed, network=network)
    if peer is not None and record.peer != peer:
        raise RecordRejected(
            f"record: of another peer (got={peer_id_text(PeerId(record.peer))} expected={peer_id_text(peer)})"
        )
    _check_role("record", record.role, role)
    _check_dates("record", record.issued, record.expires, RECORD_LIFETIME_MAX_SECONDS, now=now)
    if (fault := _fault(record)) is not None:
        raise RecordRejected(f"record: {fault}")
    return record


def check_pair(
    record: Record, statement_signed: Signed, *, network: NetworkId, now: float, role: Role | None = None
) -> KeyStatement:
    """Verify the statement that belongs to a checked record, and that it does.

    Args:
        record: A record that `check_record` let pass.
        statement_signed: What came with it.
        network: The network that it must be for.
        now: Seconds since the Unix epoch.
        role: The role that both must state, if one is expected.

    Raises:
        RecordRejected, MalformedMessage: The statement is not valid by itself, or not the one
            that the record names by hash, or of another identity or role.
    """
    if paper_hash(statement_signed) != record.statement_hash:
        raise RecordRejected("statement: not the one that the record names")
    statement = check_statement(statement_signed, network=network, now=now, role=role)
    if peer_id_of(statement.identity_key) != record.peer:
        raise RecordRejected("statement: of another identity than the record")
    _check_role("statement", statement.role, record.role)
    return statement


def is_newer(record: Record, than: Record) -> bool:
    """Say whether `record` replaces `than`, an earlier record of the same peer."""
    return record.peer == than.peer and record.sequence > than.sequence


# ---------------------------------------------------------------- the DHT


def dht_key(network_name: str, peer: PeerId) -> str:
    """Say under which DHT key a proxy's record is stored."""
    return f"/cocoon/{network_name}/{peer_id_text(peer)}"


def shard_keys(network_name: str) -> tuple[str, ...]:
    """Name the DHT keys that proxies announce themselves under, all of them."""
    return tuple(f"/cocoon/{network_name}/proxies/{shard}" for shard in range(PROXY_SHARDS))


def shard_key_of(network_name: str, peer: PeerId) -> str:
    """Name the one shard key that this proxy announces itself under."""
    return shard_keys(network_name)[hashlib.sha256(peer).digest()[0] % PROXY_SHARDS]


def validate_dht(key: bytes | str, value: bytes, *, network: NetworkId, now: float) -> Record:
    """Judge what somebody wants to store in the DHT, or what a lookup brought.

    Args:
        key: `/cocoon/<network>/<peer id>`.
        value: A signed record, spelled by `papers.encode_signed`.
        network: Our network's id; the name in the key must be its name.
        now: Seconds since the Unix epoch.

    Returns:
        The record.

    Raises:
        RecordRejected, MalformedMessage: It is too long, not a proxy's record, not of the peer
            in the key, for another network, or outside its dates.
    """
    peer = _peer_in(key, network)
    if len(value) > RECORD_SIZE_MAX_BYTES:
        raise RecordRejected(f"record: too long (size={len(value)} max={RECORD_SIZE_MAX_BYTES} bytes)")
    return check_record(decode_signed(value), network=network, now=now, role=Role.PROXY, peer=peer)


def select_newest(values: Sequence[bytes]) -> int:
    """Choose between validated DHT values of one key: the highest sequence.

    Two records of one sequence are a fault of their signer; then every node must choose alike,
    so the greater bytes win. A value that is no record loses to any that is.

    Returns:
        The index of the chosen value.
    """
    return max(range(len(values)), key=lambda index: (_sequence(values[index]), values[index]))


def _peer_in(key: bytes | str, network: NetworkId) -> PeerId:
    try:
        text = key if isinstance(key, str) else key.decode("ascii")
    except UnicodeDecodeError:
        raise RecordRejected("not a record's key: not ASCII") from None
    match text.split("/"):
        case ["", "cocoon", name, peer_text] if _is_named(network, name):
            peer = parse_peer_id(peer_text)
        case _:
            raise RecordRejected(f"not a record's key on this network: {text[:96]!r}")
    # One peer, one key: base58 has other spellings of the same bytes.
    if peer_id_text(peer) != peer_text:
        raise RecordRejected(f"not a record's key: {text[:96]!r}")
    return peer


def _is_named(network: NetworkId, name: str) -> bool:
    try:
        return network_id(name) == network
    except ConfigurationError:
        return False


def _sequence(value: bytes) -> int:
    try:
        return decode_paper(Record, decode_signed(value).body).sequence
    except MalformedMessage:
        return -1


# ---------------------------------------------------------------- rules


def _expiry(now: float, lifetime_seconds: int, most: int) -> int:
    if not 0 < lifetime_seconds <= most:
        raise LocalProtocolError(f"lifetime out of range (got={lifetime_seconds} max={most} seconds)")
    return int(now) + lifetime_seconds


def _check_role(what: str, got: Role, expected: Role | None) -> None:
    if expected is not None and got is not expected:
        raise RecordRejected(
            f"{what}: another role (got={got.name.lower()} expected={expected.name.lower()})"
        )


def _check_dates(what: str, begins: int, expires: int, most: int, *, now: float) -> None:
    if begins > now + CLOCK_SKEW_SECONDS:
        raise RecordRejected(f"{what}: from the future (by={begins - now:.0f} seconds)", hint=CLOCK_HINT)
    if not 0 < expires - begins <= most:
        raise RecordRejected(f"{what}: lifetime out of range (got={expires - begins} max={most} seconds)")
    if expires <= now:
        raise RecordRejected(f"{what}: expired (by={now - expires:.0f} seconds)", hint=CLOCK_HINT)


def _fault(record: Record) -> str | None:
    """Say what is wrong with a record that is well formed, whoever made it."""
    names = [model.name for model in record.models]
    if len(set(names)) != len(names):
        # Its price would be a matter of taste.
        return "a model is offered twice"
    if any(0 in astuple(model.rates) for model in record.models if model.rates is not None):
        # Whoever reckons with it would divide by it.
        return "a model has a rate of 0"
    if record.role is Role.WORKER and record.addresses:
        return "a worker publishes no address"
    if record.role is not Role.PROXY and record.commission_basis_points:
        return "only a proxy takes a commission"
    return None
