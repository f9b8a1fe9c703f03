"""A wallet's file keeps its secret, from others, from logs and from damage."""

import json
import os
import traceback
from pathlib import Path
from typing import Any

import pytest
from nacl.pwhash import argon2id

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.payments.wallet import wallet_file
from cocoon_p2p.payments.wallet.mnemonic import key_from_words
from cocoon_p2p.payments.wallet.wallet_file import MODERATE, Effort, create, held, read
from tests.payments.wallets import WORDS

LIGHT = Effort(argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)
PASSPHRASE = "correct horse"


def altered(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    for name, value in changes.items():
        outer, _, inner = name.partition("__")
        if inner:
            content[outer][inner] = value
        else:
            content[outer] = value
    path.write_text(json.dumps(content))


def shown(exc: BaseException) -> str:
    return "".join(traceback.format_exception(exc)) + str(getattr(exc, "hint", ""))


def test_a_wallet_is_found_again_plain_and_locked(tmp_path: Path) -> None:
    key = key_from_words(WORDS)
    plain = create(tmp_path / "plain", WORDS, "testnet")
    locked = create(tmp_path / "locked", WORDS, "testnet", passphrase=PASSPHRASE, effort=LIGHT)

    assert read(plain.path).open() == read(locked.path).open(PASSPHRASE) == key
    assert read(locked.path).words(PASSPHRASE) == tuple(WORDS)
    assert plain.address == locked.address == read(locked.path).address
    assert (plain.is_locked, locked.is_locked) == (False, True)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.slow
def test_a_lock_is_moderate_unless_told_otherwise(tmp_path: Path) -> None:
    create(tmp_path / "wallet", WORDS, "local", passphrase=PASSPHRASE)

    locked = json.loads((tmp_path / "wallet").read_text())["locked"]
    assert (locked["operations"], locked["memory_bytes"]) == (3, 256 << 20)
    assert Effort(3, 256 << 20) == MODERATE
    assert read(tmp_path / "wallet").open(PASSPHRASE) == key_from_words(WORDS)


def test_a_locked_file_has_no_word_in_it_and_another_salt_each_time(tmp_path: Path) -> None:
    for name in "ab":
        create(tmp_path / name, WORDS, "local", passphrase=PASSPHRASE, effort=LIGHT)

    first, second = (json.loads((tmp_path / name).read_text())["locked"] for name in "ab")
    assert first["salt"] != second["salt"]
    assert first["box"] != second["box"]
    assert not any(word in (tmp_path / "a").read_text() for word in WORDS if len(word) > 4)


def test_letters_that_look_alike_are_the_same_passphrase(tmp_path: Path) -> None:
    made = create(tmp_path / "wallet", WORDS, "local", passphrase="caf\u00e9", effort=LIGHT)

    assert made.open("cafe\u0301") == key_from_words(WORDS)


@pytest.mark.parametrize("passphrase", ["Correct horse", "", None])
def test_a_wrong_or_missing_passphrase_is_a_clear_error(tmp_path: Path, passphrase: str | None) -> None:
    made = create(tmp_path / "wallet", WORDS, "local", passphrase=PASSPHRASE, effort=LIGHT)

    with pytest.raises(ConfigurationError, match="passphrase") as caught:
        made.open(passphrase)

    assert caught.value.hint
    assert PASSPHRASE not in shown(caught.value)


def test_an_empty_passphrase_is_refused_and_no_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="empty passphrase"):
        create(tmp_path / "wallet", WORDS, "local", passphrase="", effort=LIGHT)

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "wallet"
    path.write_text("my diary")

    with pytest.raises(ConfigurationError, match="there already"):
        create(path, WORDS, "local")

    assert path.read_text() == "my diary"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        create(tmp_path / "nowhere" / "wallet", WORDS, "local")
    with pytest.raises(ConfigurationError, match="no wallet at"):
        read(tmp_path / "nowhere" / "wallet")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_may_touch_is_refused_with_the_way_out(tmp_path: Path, mode: int) -> None:
    made = create(tmp_path / "wallet", WORDS, "local")
    made.path.chmod(mode)

    with pytest.raises(ConfigurationError, match="can be read by others") as caught:
        read(made.path)

    assert caught.value.hint == f"chmod 600 {made.path}"


def test_a_pipe_and_a_folder_are_no_wallets_and_nobody_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)

    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ConfigurationError, match=r"is not a file|Is a directory"):
            read(path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", "nonsense", "\xff", "[" * 100_000, "1" * (2 << 20)),
        *('{"version": 1}', '{"version": 1, "network": "local", "address": "a"}'),
        '{"version": 1, "network": "local", "address": "a", "words": "road", "more": 1}',
        '{"version": 1, "network": "nowhere", "address": "a", "words": "road"}',
    ],
)
def test_what_is_no_wallet_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wallet"
    path.write_text(text, encoding="latin-1")
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match=r"damaged|too large"):
        read(path)


def test_another_versions_file_is_refused_as_that(tmp_path: Path) -> None:
    made = create(tmp_path / "wallet", WORDS, "local")
    altered(made.path, version=2)

    with pytest.raises(ConfigurationError, match="another version"):
        read(made.path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"network": "mainnet"}, "damaged"),
        ({"address": "0QAAAAAA"}, "damaged"),
        ({"words": " ".join([*WORDS[1:], WORDS[0]])}, "no wallet's"),
        ({"words": "road " * 24}, "no wallet's"),
        ({"words": ""}, "24 words"),
    ],
)
def test_a_plain_file_that_was_altered_is_noticed(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    made = create(tmp_path / "wallet", WORDS, "testnet")
    altered(made.path, **change)

    with pytest.raises(ConfigurationError, match=what):
        read(made.path).open()


@pytest.mark.parametrize(
    "change",
    [
        {"network": "mainnet"},
        {"address": "0QAAAAAA"},
        {"locked__box": "00" * 200},
        {"locked__box": "zz"},
        {"locked__box": ""},
        {"locked__salt": "00" * 16},
        {"locked__salt": "00"},
        {"locked__operations": 2},
        {"locked__operations": -1},
        {"locked__operations": 1 << 70},
        {"locked__memory_bytes": 9 << 20},
        {"locked__memory_bytes": 1 << 40},
    ],
    ids=str,
)
def test_a_locked_file_that_was_altered_is_noticed(tmp_path: Path, change: dict[str, Any]) -> None:
    made = create(tmp_path / "wallet", WORDS, "testnet", passphrase=PASSPHRASE, effort=LIGHT)
    altered(made.path, **change)

    with pytest.raises(ConfigurationError, match=r"damaged|altered"):
        read(made.path).open(PASSPHRASE)


@pytest.mark.parametrize("change", [{"locked__operations": 5}, {"locked__memory_bytes": (1 << 30) + 1024}])
def test_a_file_that_asks_for_more_work_than_any_lock_of_ours_is_not_worked_for(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    made = create(tmp_path / "wallet", WORDS, "testnet", passphrase=PASSPHRASE, effort=LIGHT)
    altered(made.path, **change)

    with pytest.raises(ConfigurationError, match="its lock makes no sense"):
        read(made.path).open(PASSPHRASE)


def test_nothing_that_is_shown_has_the_secret_in_it(tmp_path: Path) -> None:
    path = tmp_path / "wallet"
    made = create(path, WORDS, "local")
    told = [repr(made), repr(read(path)), repr(made.open()), repr(read(path)._content)]
    altered(path, words=" ".join([*WORDS[:23], "roadd"]))
    with pytest.raises(ConfigurationError) as caught:
        read(path).open()
    told.append(shown(caught.value))
    altered(path, words=[*WORDS])
    with pytest.raises(ConfigurationError) as caught:
        read(path)
    told.append(shown(caught.value))

    secret = key_from_words(WORDS).secret
    for text in told:
        assert not any(word in text for word in ("hospital", "fringe", "coconut", "roadd"))
        assert secret.hex() not in text
        assert repr(secret) not in text


def test_a_wallet_is_held_by_one_at_a_time_links_included(tmp_path: Path) -> None:
    path = create(tmp_path / "wallet", WORDS, "local").path
    (tmp_path / "link").symlink_to(path)

    with held(path):
        for name in ("wallet", "link"):
            with pytest.raises(ConfigurationError, match="in use by another process"), held(tmp_path / name):
                pass
    with held(path):
        pass
    with pytest.raises(ConfigurationError, match="No such file"), held(tmp_path / "nowhere"):
        pass


def test_a_disk_that_fails_while_writing_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wallet_file.private_files.os, "fsync", fail)

    with pytest.raises(ConfigurationError, match="No space left"):
        create(tmp_path / "wallet", WORDS, "local")

    assert list(tmp_path.iterdir()) == []
