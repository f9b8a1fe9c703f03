"""The policy on disk: kept with the newest epoch, which no crash and no restart forgets."""

from pathlib import Path

import pytest

from cocoon_p2p.attestation import Pins, sign_policy
from cocoon_p2p.attestation.keeping import PolicyKeeper
from cocoon_p2p.errors import ConfigurationError, PolicyRejected
from cocoon_p2p.testing.papers import paper_identity
from tests.attestation.scene import NETWORK, NOW

ALICE, MALLORY = paper_identity(40), paper_identity(41)
PINS = Pins(frozenset({ALICE.public_key}), 1)


def policy(epoch: int, by: int = 40) -> bytes:
    text = f'network = "test"\nepoch = {epoch}\nexpires = 2027-06-01T00:00:00Z\n'
    return sign_policy(text.encode(), paper_identity(by))


def keeper(folder: Path) -> PolicyKeeper:
    return PolicyKeeper(folder / "trust", pins=PINS, network=NETWORK)


async def test_an_adopted_policy_is_there_after_a_restart(tmp_path: Path) -> None:
    assert await keeper(tmp_path).load(now=NOW) is None

    adopted = await keeper(tmp_path).adopt(policy(5), now=NOW)

    assert await keeper(tmp_path).load(now=NOW) == adopted
    assert (tmp_path / "trust" / "policy-seen").stat().st_mode & 0o077 == 0


async def test_no_restart_lets_an_older_policy_in(tmp_path: Path) -> None:
    await keeper(tmp_path).adopt(policy(5), now=NOW)

    with pytest.raises(PolicyRejected, match="rolled back"):
        await keeper(tmp_path).adopt(policy(4), now=NOW)
    (tmp_path / "trust" / "policy.toml").write_bytes(policy(4))
    with pytest.raises(PolicyRejected, match="rolled back"):
        await keeper(tmp_path).load(now=NOW)


async def test_a_strangers_policy_changes_nothing(tmp_path: Path) -> None:
    adopted = await keeper(tmp_path).adopt(policy(5), now=NOW)

    with pytest.raises(PolicyRejected):
        await keeper(tmp_path).adopt(policy(9, by=41), now=NOW)

    assert await keeper(tmp_path).load(now=NOW) == adopted


async def test_a_crash_between_epoch_and_policy_forgets_the_policy_not_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cocoon_p2p.attestation import keeping

    await keeper(tmp_path).adopt(policy(5), now=NOW)
    real = keeping.replace_file

    def crash(path: Path, data: bytes) -> None:
        if path.name == "policy.toml":
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(keeping, "replace_file", crash)
    with pytest.raises(KeyboardInterrupt):
        await keeper(tmp_path).adopt(policy(6), now=NOW)
    monkeypatch.undo()

    with pytest.raises(PolicyRejected, match="rolled back"):
        await keeper(tmp_path).load(now=NOW)
    assert (await keeper(tmp_path).adopt(policy(6), now=NOW)).epoch == 6


@pytest.mark.parametrize("damage", [b"", b"5\n", b"-5 " + b"0" * 64 + b"\n", b"\xff"])
async def test_a_damaged_memory_is_an_error_and_no_fresh_start(tmp_path: Path, damage: bytes) -> None:
    await keeper(tmp_path).adopt(policy(5), now=NOW)
    (tmp_path / "trust" / "policy-seen").write_bytes(damage)

    with pytest.raises(ConfigurationError):
        await keeper(tmp_path).adopt(policy(6), now=NOW)


async def test_a_folder_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "trust").write_text("in the way")

    with pytest.raises(ConfigurationError):
        await keeper(tmp_path).adopt(policy(5), now=NOW)
