"""The user's policy on disk, and the newest one that was ever seen.

    <folder>/policy-seen     epoch and digest of the newest policy, saved before it is used
    <folder>/policy.toml     the policy, with its signatures

Losing `policy-seen` would let an older policy in; so a damaged one is an error, not a start
from nothing.
"""

import logging
import re
from pathlib import Path

import trio

from cocoon_p2p.attestation.files import replace_file
from cocoon_p2p.attestation.policy import Policy
from cocoon_p2p.attestation.policy_file import POLICY_SIZE_MAX_BYTES, Pins, Seen, accept_policy
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import NetworkId

log = logging.getLogger(__name__)

_SEEN = re.compile(r"([1-9][0-9]{0,15}) ([0-9a-f]{64})\n")


class PolicyKeeper:
    """The user's policy and the newest epoch ever seen, in a folder of one node."""

    def __init__(self, folder: Path, *, pins: Pins, network: NetworkId) -> None:
        self._folder = folder
        self._pins = pins
        self._network = network

    async def adopt(self, data: bytes, *, now: float) -> Policy:
        """Accept a policy that came from anywhere, and keep it.

        The epoch is on the disk before this returns, so no crash lets an older one in. A cancel
        leaves it adopted or not.

        Raises:
            PolicyRejected: As `accept_policy`.
            ConfigurationError: The folder cannot be used, or what was seen there is damaged.
        """
        return await trio.to_thread.run_sync(self._adopt, data, now)

    async def load(self, *, now: float) -> Policy | None:
        """Read the policy that was kept, if any, and accept it anew. Raises as `adopt`."""
        return await trio.to_thread.run_sync(self._load, now)

    def _adopt(self, data: bytes, now: float) -> Policy:
        seen = self._seen()
        policy = accept_policy(data, pins=self._pins, network=self._network, now=now, seen=seen)
        try:
            replace_file(self._folder / "policy-seen", f"{policy.epoch} {policy.digest.hex()}\n".encode())
            replace_file(self._folder / "policy.toml", data)
        except OSError as exc:
            raise ConfigurationError(f"cannot keep the policy in {self._folder}: {exc.strerror}") from exc
        log.info("policy adopted", extra={"epoch": policy.epoch, "digest": policy.digest.hex()[:16]})
        return policy

    def _load(self, now: float) -> Policy | None:
        try:
            with (self._folder / "policy.toml").open("rb") as file:
                data = file.read(POLICY_SIZE_MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise ConfigurationError(f"cannot read the policy in {self._folder}: {exc.strerror}") from exc
        return accept_policy(data, pins=self._pins, network=self._network, now=now, seen=self._seen())

    def _seen(self) -> Seen | None:
        path = self._folder / "policy-seen"
        try:
            text = path.read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError(f"cannot read {path}") from exc
        if (found := _SEEN.fullmatch(text)) is None:
            raise ConfigurationError(
                f"{path} is damaged", hint="write the epoch and digest of your policy there, or remove it"
            )
        return Seen(int(found[1]), bytes.fromhex(found[2]))
