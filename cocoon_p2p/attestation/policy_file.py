"""A policy on paper: one TOML file, and below it the signatures of those who stand for it.

    network = "mainnet"
    epoch = 7
    expires = 2027-01-01T00:00:00Z
    ...
    # cocoon-signature ed25519 <64 hex digits: key> <128 hex digits: signature>

What is signed is every byte above the first signature, for the network that it names. The
signatures are looked at first: an unsigned file is not even parsed. Who must have signed is
pinned in the user's own configuration; that the epoch never falls is checked against what was
seen before (`keeping` remembers it).

Spec: protocols/evidence.md (The policy file).
"""

import hashlib
import re
from dataclasses import dataclass

from cocoon_p2p.attestation.policy import GRACE_SECONDS, Policy
from cocoon_p2p.attestation.policy_text import read_text
from cocoon_p2p.errors import ConfigurationError, PolicyRejected, RecordRejected
from cocoon_p2p.identity import Identity, NetworkId, verify_with_key

POLICY_SIZE_MAX_BYTES = 64 * 1024
"Hundreds of images; they are a dozen lines each."

SIGNERS_MAX = 16

_SIGNED_AS = "policy"
_MARK = b"# cocoon-signature"
_SIGNATURE = re.compile(rb"# cocoon-signature ed25519 ([0-9a-f]{64}) ([0-9a-f]{128})")


@dataclass(frozen=True, slots=True)
class Pins:
    """Whose word makes a policy: `needed` of these keys. It comes from the user, never from a peer."""

    keys: frozenset[bytes]
    "Ed25519, 32 bytes each."

    needed: int

    def __post_init__(self) -> None:
        if not 1 <= self.needed <= len(self.keys) <= SIGNERS_MAX:
            raise ConfigurationError(
                f"pins cannot be satisfied (keys={len(self.keys)} needed={self.needed} max={SIGNERS_MAX})",
                hint="pin at least as many keys as must sign, and at least one",
            )
        if any(len(key) != 32 for key in self.keys):
            raise ConfigurationError("a pinned key has 32 bytes, as 64 hexadecimal digits")


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest policy that was ever accepted here."""

    epoch: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy's file in its two parts."""

    body: bytes
    signatures: tuple[tuple[bytes, bytes], ...]
    "Key and signature, in the order of the file."

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.body).digest()


def accept_policy(data: bytes, *, pins: Pins, network: NetworkId, now: float, seen: Seen | None) -> Policy:
    """Take a policy that came from anywhere, if those who are pinned stand for it.

    Args:
        data: The file.
        pins: Whose signatures count, and how many are needed.
        network: The network that it must be for.
        now: Seconds since the Unix epoch.
        seen: The newest policy accepted before, if any. The caller saves the new one *before* it
            uses the policy.

    Raises:
        PolicyRejected: Too few pinned keys signed it, it is for another network, older than
            `seen`, another one of the same epoch, more than 14 days past its expiry, or not to be read.
    """
    file = split_policy(data)
    signed = {
        key
        for key, signature in file.signatures
        if key in pins.keys and _holds(file, key, signature, network)
    }
    if len(signed) < pins.needed:
        raise PolicyRejected(
            f"policy rejected: not signed by enough pinned keys (signed={len(signed)} needed={pins.needed})"
        )
    policy = read_policy(file)
    if policy.network != network:
        raise PolicyRejected("policy rejected: for another network")
    if seen is not None and policy.epoch < seen.epoch:
        raise PolicyRejected(f"policy rejected: rolled back (epoch={policy.epoch} seen={seen.epoch})")
    if seen is not None and policy.epoch == seen.epoch and policy.digest != seen.digest:
        raise PolicyRejected(f"policy rejected: another one of an epoch that was seen (epoch={seen.epoch})")
    # Written so that a time that is no number is refused.
    if not now < policy.expires + GRACE_SECONDS:
        raise PolicyRejected(f"policy rejected: expired (by={now - policy.expires:.0f} seconds)")
    return policy


def sign_policy(data: bytes, signer: Identity) -> bytes:
    """Add a signature to a policy's file; one by the same key is replaced.

    Raises:
        PolicyRejected: It cannot be read as a policy, or has all the signatures that it may have.
    """
    file = split_policy(data)
    policy = read_policy(file)
    body = file.body
    signature = signer.sign(_SIGNED_AS, policy.network, body)
    others = [pair for pair in file.signatures if pair[0] != signer.public_key]
    lines = [_spell_signature(*pair) for pair in (*others, (signer.public_key, signature))]
    if len(lines) > SIGNERS_MAX:
        raise PolicyRejected(f"policy rejected: too many signatures (max={SIGNERS_MAX})")
    return body + b"".join(lines)


def signers(file: PolicyFile, network: NetworkId) -> tuple[bytes, ...]:
    """Name the keys whose signatures hold, whoever they are."""
    return tuple(key for key, signature in file.signatures if _holds(file, key, signature, network))


def read_policy(file: PolicyFile) -> Policy:
    """Read a policy, whoever signed it: for a file of one's own. `accept_policy` is for others'.

    Raises:
        PolicyRejected: It cannot be read; the text says what is wrong.
    """
    try:
        return read_text(file.body.decode(), file.digest)
    except ValueError as exc:
        raise PolicyRejected(f"policy rejected: {exc!s:.200}") from exc


def split_policy(data: bytes) -> PolicyFile:
    """Take a file apart. Nothing is verified.

    Raises:
        PolicyRejected: It is too long, or something else than signatures follows the first one.
    """
    if len(data) > POLICY_SIZE_MAX_BYTES:
        raise PolicyRejected(
            f"policy rejected: too long (size={len(data)} max={POLICY_SIZE_MAX_BYTES} bytes)"
        )
    lines = data.split(b"\n")
    first = next((number for number, line in enumerate(lines) if line.startswith(_MARK)), None)
    if first is None:
        return PolicyFile(data if data.endswith(b"\n") else data + b"\n", ())
    tail = lines[first:]
    if tail[-1] == b"":
        tail.pop()
    found = [_SIGNATURE.fullmatch(line) for line in tail]
    if len(found) > SIGNERS_MAX or not all(found):
        raise PolicyRejected("policy rejected: nothing but signatures may follow the first signature")
    pairs = tuple((bytes.fromhex(m[1].decode()), bytes.fromhex(m[2].decode())) for m in found if m)
    return PolicyFile(b"\n".join(lines[:first]) + b"\n", pairs)


def _holds(file: PolicyFile, key: bytes, signature: bytes, network: NetworkId) -> bool:
    try:
        verify_with_key(key, _SIGNED_AS, network, file.body, signature)
    except RecordRejected:
        return False
    return True


def _spell_signature(key: bytes, signature: bytes) -> bytes:
    return f"# cocoon-signature ed25519 {key.hex()} {signature.hex()}\n".encode()
