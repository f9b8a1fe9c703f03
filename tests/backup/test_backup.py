"""A node's folder goes into one file and comes out of it: whole, private, and over nothing."""

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.backup import Restored, make_backup, manifest, restore
from cocoon_p2p.backup.sealed import Effort, SealingWriter
from cocoon_p2p.config import ClientFile, Loaded, load
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.keyfile import load_or_create
from cocoon_p2p.ledger import Note
from cocoon_p2p.store import open_store

CHEAP = Effort(1, 8 * 1024)
PASSPHRASE = "correct horse"
AT = 1_790_000_000
CONFIG = """\
[network]
name = "test"
[data]
directory = "data"
"""


def node(folder: Path, config: str = CONFIG, **environment: str) -> Loaded[ClientFile]:
    """Make a client's folder, as one that has run leaves it, without its ledger."""
    folder.mkdir(exist_ok=True)
    (folder / "client.toml").write_text(config)
    loaded = load(ClientFile, folder / "client.toml", environment)
    load_or_create(loaded.data_directory / "identity.key")
    return loaded


async def keep(loaded: Loaded[Any], key: str, value: bytes) -> None:
    async with open_store(loaded.data_directory / "ledger.db") as store:
        await store.submit(Note(key, value)).wait()


def back_up(loaded: Loaded[Any], out: Path) -> manifest.Manifest:
    return make_backup(loaded, out, PASSPHRASE, now=AT, effort=CHEAP).manifest


def notes_in(ledger: Path) -> dict[str, bytes]:
    with sqlite3.connect(ledger) as connection:
        return dict(connection.execute("select key, value from notes"))


async def restored(backup: Path, folder: Path) -> Restored:
    """Restore, which has a loop of its own, from a test that has one too."""
    return await trio.to_thread.run_sync(restore, backup, folder, PASSPHRASE)


async def test_what_belongs_to_a_node_comes_out_as_it_went_in(tmp_path: Path) -> None:
    loaded = node(tmp_path / "node")
    await keep(loaded, "a", b"1")
    said = back_up(loaded, tmp_path / "backup")

    back = await restored(tmp_path / "backup", tmp_path / "back")

    assert [each.name for each in said.files] == ["client.toml", "data/identity.key", "data/ledger.db"]
    assert back.manifest == said
    assert (said.role, said.at, said.moved) == ("client", AT, {})
    assert back.config.read_text() == CONFIG
    assert (tmp_path / "back/data/identity.key").read_bytes() == (
        tmp_path / "node/data/identity.key"
    ).read_bytes()
    assert notes_in(tmp_path / "back/data/ledger.db") == {"a": b"1"}
    again = load(ClientFile, back.config, {})
    assert load_or_create(again.data_directory / "identity.key").peer_id


async def test_a_backup_made_while_the_node_writes_is_of_one_moment(tmp_path: Path) -> None:
    loaded = node(tmp_path / "node")
    async with open_store(loaded.data_directory / "ledger.db") as store:
        await store.submit(Note("before", b"1")).wait()
        back_up(loaded, tmp_path / "backup")
        await store.submit(Note("after", b"1")).wait()

    await restored(tmp_path / "backup", tmp_path / "back")

    assert set(notes_in(tmp_path / "back/data/ledger.db")) == {"before"}
    assert not list((tmp_path / "node/data").glob("backup-*"))


async def test_only_its_owner_can_read_a_backup_and_what_was_restored(tmp_path: Path) -> None:
    loaded = node(tmp_path / "node")
    await keep(loaded, "a", b"1")
    before = os.umask(0)
    try:
        back_up(loaded, tmp_path / "backup")

        await restored(tmp_path / "backup", tmp_path / "back")
    finally:
        os.umask(before)

    for path in (tmp_path / "backup", tmp_path / "back", *(tmp_path / "back").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    sealed = (tmp_path / "backup").read_bytes()
    assert (tmp_path / "node/data/identity.key").read_bytes().strip() not in sealed
    assert b"client.toml" not in sealed


def test_nothing_is_written_over(tmp_path: Path) -> None:
    loaded = node(tmp_path / "node")
    back_up(loaded, tmp_path / "backup")
    before = (tmp_path / "backup").read_bytes()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious").write_text("mine")
    (tmp_path / "empty").mkdir()

    with pytest.raises(ConfigurationError, match="is there already"):
        back_up(loaded, tmp_path / "backup")
    with pytest.raises(ConfigurationError, match="is not empty"):
        restore(tmp_path / "backup", tmp_path / "full", PASSPHRASE)
    with pytest.raises(ConfigurationError, match="is not empty"):
        restore(tmp_path / "backup", tmp_path / "full/precious", PASSPHRASE)
    restore(tmp_path / "backup", tmp_path / "empty", PASSPHRASE)

    assert (tmp_path / "backup").read_bytes() == before
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["precious"]
    assert (tmp_path / "empty/client.toml").is_file()


@pytest.mark.parametrize("harm", ["another passphrase", "cut", "altered"])
def test_what_does_not_open_leaves_nothing_behind(tmp_path: Path, harm: str) -> None:
    loaded = node(tmp_path / "node")
    back_up(loaded, tmp_path / "backup")
    sealed = (tmp_path / "backup").read_bytes()
    if harm == "cut":
        (tmp_path / "backup").write_bytes(sealed[:-1])
    elif harm == "altered":
        (tmp_path / "backup").write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))

    with pytest.raises(ConfigurationError):
        restore(tmp_path / "backup", tmp_path / "back", harm if harm.startswith("an") else PASSPHRASE)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "node"]


async def test_a_ledger_of_another_version_is_not_restored(tmp_path: Path) -> None:
    loaded = node(tmp_path / "node")
    await keep(loaded, "a", b"1")
    # It was backed up by a program that knows this version.
    sealed = tmp_path / "backup"
    with sealed.open("wb") as out:
        ledger = (loaded.data_directory / "ledger.db").read_bytes()
        # `pragma user_version` stands at 60 in the header of a database.
        ledger = ledger[:60] + (99).to_bytes(4, "big") + ledger[64:]
        writer = SealingWriter(out, PASSPHRASE, CHEAP)
        kept = [manifest.FileKept("client.toml", 1), manifest.FileKept("ledger.db", len(ledger))]
        writer.write(
            manifest.encode(manifest.Manifest(1, "client", "12D3", AT, "client.toml", "ledger.db", kept))
        )
        writer.write(b"\n" + ledger)
        writer.finish()

    with pytest.raises(ConfigurationError, match="a newer version"):
        await restored(sealed, tmp_path / "back")

    assert not (tmp_path / "back").exists()


def test_a_wallet_goes_along_with_the_payment_that_is_under_way_and_without_its_passphrase(
    tmp_path: Path,
) -> None:
    money = '[chain]\nnetwork = "local"\nservers = "chain.json"\n[wallet]\nfile = "purse/mine.wallet"\n'
    loaded = node(tmp_path / "node", CONFIG + money + 'passphrase_file = "mine.passphrase"\n')
    (tmp_path / "node/purse").mkdir()
    for name in ("purse/mine.wallet", "purse/mine.wallet.pending", "chain.json", "mine.passphrase"):
        (tmp_path / "node" / name).write_text(name)

    made = make_backup(loaded, tmp_path / "backup", PASSPHRASE, now=AT, effort=CHEAP)
    restore(tmp_path / "backup", tmp_path / "back", PASSPHRASE)

    for name in ("purse/mine.wallet", "purse/mine.wallet.pending", "chain.json"):
        assert (tmp_path / "back" / name).read_text() == name
    assert not (tmp_path / "back/mine.passphrase").exists()
    assert any("passphrase" in line for line in made.left_out)


def test_the_networks_own_file_goes_along_with_the_servers_that_it_names(tmp_path: Path) -> None:
    peer = "12D3KooWE6eMZQob7bqHGnwby6UW7xH3sj1FEwRhoASqLwWUFvj6"
    network = f'[network]\nname = "test"\nbootstrap = ["/dns4/boot.example.org/tcp/4001/p2p/{peer}"]\n'
    (tmp_path / "node/net").mkdir(parents=True)
    (tmp_path / "node/net/network.toml").write_text(
        network + '[chain]\nnetwork = "local"\nservers = "chain.json"\n'
    )
    (tmp_path / "node/net/chain.json").write_text("{}")
    loaded = node(tmp_path / "node", CONFIG.replace('name = "test"', 'bootstrap = "net/network.toml"'))

    said = back_up(loaded, tmp_path / "backup")
    back = restore(tmp_path / "backup", tmp_path / "back", PASSPHRASE)

    assert said.moved == {}
    assert load(ClientFile, back.config, {}).settings.network == loaded.settings.network
    assert (tmp_path / "back/net/chain.json").read_text() == "{}"


def test_what_lay_elsewhere_comes_into_the_folder_and_its_owner_is_told(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    text = CONFIG.replace('"data"', f'"{elsewhere}"')
    loaded = node(tmp_path / "node", text)
    overridden = node(tmp_path / "other", CONFIG, COCOON_DATA__DIRECTORY=str(elsewhere))

    said = back_up(loaded, tmp_path / "backup")
    also = back_up(overridden, tmp_path / "backup-2")
    restore(tmp_path / "backup", tmp_path / "back", PASSPHRASE)

    assert said.moved == also.moved == {"[data] directory": "data"}
    assert (tmp_path / "back/data/identity.key").is_file()


def test_files_of_one_name_from_two_places_both_come_along(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/client.toml").write_text("policy")
    text = CONFIG + '[trust]\npolicy = "../policies/client.toml"\n'
    loaded = node(tmp_path / "node", text)

    said = back_up(loaded, tmp_path / "backup")
    back = restore(tmp_path / "backup", tmp_path / "back", PASSPHRASE)

    assert back.config.read_text() == text
    assert (tmp_path / "back" / said.moved["[trust] policy"]).read_text() == "policy"


def test_what_changes_while_it_is_sealed_is_sealed_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = node(tmp_path / "node", CONFIG + '[trust]\npolicy = "policy.toml"\n')
    (tmp_path / "node/policy.toml").write_text("before")
    whole = SealingWriter.write

    def replace_then_write(self: SealingWriter, data: bytes) -> None:
        (tmp_path / "new").write_text("after, and longer")
        (tmp_path / "new").replace(tmp_path / "node/policy.toml")
        whole(self, data)

    monkeypatch.setattr(SealingWriter, "write", replace_then_write)
    back_up(loaded, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "back", PASSPHRASE)

    assert (tmp_path / "back/policy.toml").read_text() == "before"


def test_it_is_restored_into_the_folder_that_one_stands_in_and_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(node(tmp_path / "node"), tmp_path / "backup")
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "here")

    restore(tmp_path / "backup", Path(), PASSPHRASE)
    restore(tmp_path / "backup", tmp_path / "link", PASSPHRASE)

    assert (tmp_path / "here/client.toml").read_text() == CONFIG
    assert (tmp_path / "there/client.toml").read_text() == CONFIG


def test_it_is_not_restored_in_the_place_of_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    back_up(node(tmp_path / "node"), tmp_path / "backup")

    def is_mounted(path: Path) -> bool:
        return path == tmp_path / "back"

    monkeypatch.setattr(Path, "is_mount", is_mounted)

    with pytest.raises(ConfigurationError, match="a disk of its own"):
        restore(tmp_path / "backup", tmp_path / "back", PASSPHRASE)


def test_who_never_ran_and_who_keeps_the_ledger_on_a_server_are_told_so(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node/client.toml").write_text(CONFIG)
    with pytest.raises(ConfigurationError, match="no node has run here"):
        back_up(load(ClientFile, tmp_path / "node/client.toml", {}), tmp_path / "backup")

    loaded = node(tmp_path / "node", CONFIG + 'ledger = "postgresql://db.example.org/cocoon"\n')
    made = make_backup(loaded, tmp_path / "backup", PASSPHRASE, now=AT, effort=CHEAP)
    assert any("pg_dump" in line for line in made.left_out)
    assert made.manifest.ledger == ""


# ---------------------------------------------------------------- what a backup says of itself


def said(**changed: Any) -> bytes:
    facts: dict[str, Any] = {
        "version": 1,
        "role": "client",
        "peer": "12D3",
        "at": AT,
        "config": "client.toml",
        "ledger": "",
        "files": [manifest.FileKept("client.toml", 1)],
        **changed,
    }
    return manifest.encode(manifest.Manifest(**facts))[manifest.LENGTH.size :]


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/../../b", "", ".", "./a", "a//b", "a\0b", "x" * 256, "a/"]
)
def test_no_backup_has_files_written_elsewhere(name: str) -> None:
    with pytest.raises(ConfigurationError):
        manifest.decode(said(config=name, files=[manifest.FileKept(name, 1)]))


@pytest.mark.parametrize(
    "changed",
    [
        {"version": 2},
        {"config": "other.toml"},
        {"ledger": "ledger.db"},
        {"files": [manifest.FileKept("client.toml", 1)] * 2},
        {"files": [manifest.FileKept("client.toml", -1)]},
        {"files": [manifest.FileKept(name, 1) for name in ("client.toml", *map(str, range(40)))]},
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(changed: dict[str, Any]) -> None:
    manifest.decode(said())

    with pytest.raises(ConfigurationError):
        manifest.decode(said(**changed))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_stands_where_a_manifest_should_is_refused_with_an_error_of_ours(data: bytes) -> None:
    with pytest.raises(ConfigurationError):
        manifest.decode(data)
