"""An identity key is made once, kept from others, and never guessed."""

import errno
import os
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.keyfile import load_or_create


def test_a_key_that_was_made_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "data" / "identity.key"

    made = load_or_create(path)

    assert load_or_create(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_two_nodes_have_two_keys(tmp_path: Path) -> None:
    assert load_or_create(tmp_path / "a") != load_or_create(tmp_path / "b")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    load_or_create(path)
    path.chmod(0o640)

    with pytest.raises(ConfigurationError, match="can be read by others") as caught:
        load_or_create(path)

    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("content", ["", "zz", "ab" * 31, "ab" * 33, "é" * 64])
def test_a_file_without_a_key_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "identity.key"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match="holds no identity key"):
        load_or_create(path)

    assert path.read_text(encoding="utf-8") == content


def test_a_full_disk_leaves_nothing_and_a_key_is_made_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ConfigurationError, match="No space left on device"):
            load_or_create(tmp_path / "identity.key")

    assert list(tmp_path.iterdir()) == []
    made = load_or_create(tmp_path / "identity.key")
    assert load_or_create(tmp_path / "identity.key") == made
    assert [path.name for path in tmp_path.iterdir()] == ["identity.key"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="cannot use"):
        load_or_create(tmp_path / "file" / "identity.key")


def test_the_seed_does_not_show(tmp_path: Path) -> None:
    made = load_or_create(tmp_path / "identity.key")

    assert made.seed.hex() not in repr(made)
    assert repr(made.seed) not in repr(made)
