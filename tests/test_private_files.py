"""Secrets are read from files that only their owner reads, and from what systemd keeps for this process."""

from pathlib import Path

import pytest

from cocoon_p2p import private_files
from cocoon_p2p.errors import ConfigurationError


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600])
def test_a_credential_is_read_though_its_access_list_shows_as_the_groups_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    (tmp_path / "wallet").write_text("correct horse")
    (tmp_path / "wallet").chmod(mode)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert private_files.read(tmp_path / "wallet") == b"correct horse"


@pytest.mark.parametrize("mode", [0o444, 0o460, 0o604])
def test_a_credential_that_everybody_reads_or_others_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    (tmp_path / "wallet").write_text("correct horse")
    (tmp_path / "wallet").chmod(mode)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    with pytest.raises(ConfigurationError, match="can be read by others"):
        private_files.read(tmp_path / "wallet")


@pytest.mark.parametrize("folder", ["", "/run/credentials/another"])
def test_elsewhere_a_group_may_read_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "wallet").write_text("correct horse")
    (tmp_path / "wallet").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)

    with pytest.raises(ConfigurationError, match="can be read by others"):
        private_files.read(tmp_path / "wallet")
