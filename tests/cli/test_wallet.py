"""`cocoon wallet` as a person and as a script use it."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio.testing
from click.testing import CliRunner, Result

from cocoon_p2p.cli.wallet import wallet
from cocoon_p2p.cli.wallet_on_chain import look_on, send_on, settle_on, transfer_of
from cocoon_p2p.errors import ConfigurationError, Refused, Unavailable
from cocoon_p2p.payments.address import parse_address, spell_address
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.devchain import LOCAL_GLOBAL_ID
from cocoon_p2p.payments.devchain.control import Advance, Look, ask, control_path
from cocoon_p2p.payments.wallet import Transfer, Wallet, comment, wallet_file
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.payments.wallet.spending_file import FileJournal
from cocoon_p2p.payments.wallet.wallet_file import Effort, WalletFile
from cocoon_p2p.units import NANO_PER_TON, Nano
from tests.cli.test_devchain import running
from tests.payments.test_wallet_file import LIGHT, PASSPHRASE
from tests.payments.wallets import STRANGER, WORDS, Crash, Fuse, FusedChain, begun, crash, received

COMMAND = [sys.executable, "-m", "cocoon_p2p.cli", "wallet"]
TO = spell_address(STRANGER, global_id=LOCAL_GLOBAL_ID)


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(wallet, [str(one) for one in arguments], input=stdin)


def private(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make locking cheap: how much it costs otherwise is tested beside the file."""

    def lock(secret: str, passphrase: str, effort: Effort) -> Any:
        return honest(secret, passphrase, LIGHT)

    honest = wallet_file._lock
    monkeypatch.setattr(wallet_file, "_lock", lock)


# ---------------------------------------------------------------- making one


def test_a_new_wallet_prints_its_address_and_not_its_words(tmp_path: Path) -> None:
    done = run("new", tmp_path / "w", "--network", "local")

    found = wallet_file.read(tmp_path / "w")
    assert done.exit_code == 0
    assert done.stdout == found.address + "\n"
    assert found.address.startswith("0Q")
    assert "cocoon wallet words" in done.stderr
    assert f"1. {found.words()[0]}" not in done.output
    assert " ".join(found.words()[:2]) not in done.output


def test_a_new_wallet_is_on_mainnet_unless_told_otherwise(tmp_path: Path) -> None:
    done = run("new", tmp_path / "w", "--json")

    facts = json.loads(done.stdout)
    assert facts == {"network": "mainnet", "address": facts["address"], "file": str(tmp_path / "w")}
    assert facts["address"].startswith("UQ")


def test_words_that_are_asked_for_are_shown_in_order_on_stderr(tmp_path: Path) -> None:
    made = run("new", tmp_path / "w", "--show-words")
    again = run("words", tmp_path / "w")

    words = wallet_file.read(tmp_path / "w").words()
    for told in (made.stderr, again.stderr):
        numbered = " ".join(f"{number}. {word}" for number, word in enumerate(words, 1))
        assert numbered in " ".join(told.split())
    assert again.stdout == ""


@pytest.mark.slow
def test_on_a_terminal_the_words_are_shown_once(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "new", str(tmp_path / "w")], stdout=subprocess.PIPE, stderr=theirs, text=True
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:
            # The other side is closed.
            pass
        address, _ = process.communicate()

    found = wallet_file.read(tmp_path / "w")
    assert address.strip() == found.address
    assert [word for word in shown.decode().split() if not word[0].isdigit()][-24:] == list(found.words())


@pytest.mark.parametrize("command", ["new", "restore"])
def test_a_file_that_is_there_is_left_alone(tmp_path: Path, command: str) -> None:
    private(tmp_path / "w", "my diary")

    done = run(command, tmp_path / "w", stdin=" ".join(WORDS))

    assert isinstance(done.exception, ConfigurationError)
    assert (tmp_path / "w").read_text() == "my diary"


@pytest.mark.usefixtures("quick")
def test_a_wallet_is_restored_from_its_words_locked_or_not(tmp_path: Path) -> None:
    file = private(tmp_path / "passphrase", PASSPHRASE + "\n")

    plain = run("restore", tmp_path / "a", "--network", "testnet", stdin="\n".join(WORDS).title() + "\n")
    locked = run("restore", tmp_path / "b", "--passphrase-file", file, stdin=" ".join(WORDS))

    assert plain.stdout == wallet_file.read(tmp_path / "a").address + "\n"
    assert locked.exit_code == 0
    found = wallet_file.read(tmp_path / "b")
    assert found.is_locked
    assert found.words(PASSPHRASE) == tuple(WORDS)
    shown = run("words", tmp_path / "b", "--passphrase-file", file)
    assert "24. solution" in shown.stderr


@pytest.mark.usefixtures("quick")
def test_a_locked_wallet_says_so_where_nobody_can_be_asked(tmp_path: Path) -> None:
    file = private(tmp_path / "passphrase", PASSPHRASE)
    run("new", tmp_path / "w", "--passphrase-file", file)

    done = run("words", tmp_path / "w")
    asking = run("new", tmp_path / "other", "--passphrase")

    assert isinstance(done.exception, ConfigurationError)
    assert "--passphrase-file" in done.exception.hint
    assert isinstance(asking.exception, ConfigurationError)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("content", "mode"), [("", 0o600), ("secret", 0o644), ("\xff", 0o600)])
def test_a_passphrase_file_that_cannot_be_is_refused_before_anything_is_made(
    tmp_path: Path, content: str, mode: int
) -> None:
    file = tmp_path / "passphrase"
    file.write_text(content, encoding="latin-1")
    file.chmod(mode)

    for path in (file, tmp_path / "nowhere"):
        done = run("new", tmp_path / "w", "--passphrase-file", path)
        assert isinstance(done.exception, ConfigurationError)

    assert not (tmp_path / "w").exists()


def test_words_that_are_wrong_are_named_by_number_and_not_repeated(tmp_path: Path) -> None:
    done = run("restore", tmp_path / "w", stdin=" ".join([*WORDS[:5], "xylograph", *WORDS[6:]]))

    assert isinstance(done.exception, ConfigurationError)
    assert "word 6 of 24" in str(done.exception)
    assert "xylograph" not in str(done.exception) + done.output
    assert list(tmp_path.iterdir()) == []


def test_showing_a_wallet_needs_no_chain_and_no_passphrase(tmp_path: Path) -> None:
    made = run("restore", tmp_path / "w", "--network", "local", stdin=" ".join(WORDS))

    plain, as_json = run("show", tmp_path / "w"), run("show", tmp_path / "w", "--json")

    address = made.stdout.strip()
    assert json.loads(as_json.stdout) == {"network": "local", "address": address}
    assert plain.stdout.split() == ["network", "local", "address", address]


# ---------------------------------------------------------------- what is to be sent


def on_disk(folder: Path, network: str = "local") -> WalletFile:
    return wallet_file.create(folder / "w", WORDS, network)


@pytest.mark.parametrize(
    ("to", "amount", "everything", "what"),
    [
        (TO, None, False, "an amount, or --all"),
        (TO, "1", True, "an amount, or --all"),
        (TO, "0", False, "out of range"),
        (TO, "-1", False, "out of range"),
        (TO, "1e30", False, "out of range"),
        (TO, "0.0000000001", False, "whole number of nanoTON"),
        (TO, "much", False, "not an amount"),
        (TO, "nan", False, "nanoTON"),
        ("nobody", "1", False, "not a TON address"),
        (TO[:-1] + ("A" if TO[-1] != "A" else "B"), "1", False, "not a TON address"),
        (f"-1:{STRANGER.hex()}", "1", False, "workchain"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    tmp_path: Path, to: str, amount: str | None, everything: bool, what: str
) -> None:
    with pytest.raises(ConfigurationError, match=what):
        transfer_of(on_disk(tmp_path), to, amount, everything=everything, text=None)


def test_an_address_of_a_test_network_is_refused_on_mainnet(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="test network, on mainnet"):
        transfer_of(on_disk(tmp_path, "mainnet"), TO, "1", everything=False, text=None)


def test_what_is_sent_is_what_was_written(tmp_path: Path) -> None:
    found = on_disk(tmp_path)
    bounceable = spell_address(STRANGER, global_id=LOCAL_GLOBAL_ID, bounceable=True)

    assert transfer_of(found, TO, "1.5", everything=False, text="hi") == Transfer(
        STRANGER, Nano(1_500_000_000), comment("hi")
    )
    assert transfer_of(found, bounceable, None, everything=True, text=None) == Transfer(
        STRANGER, None, is_bounceable=True
    )


def test_a_mistake_in_the_address_is_found_before_a_passphrase_is_asked_for(tmp_path: Path) -> None:
    on_disk(tmp_path)

    done = run("send", tmp_path / "w", "nobody", "1", "--chain", tmp_path / "config.json")

    assert isinstance(done.exception, ConfigurationError)
    assert "not a TON address" in str(done.exception)


def test_a_wallet_that_another_process_holds_is_not_sent_from(tmp_path: Path) -> None:
    found = on_disk(tmp_path)

    with wallet_file.held(found.path):
        done = run("send", found.path, TO, "1", "--chain", tmp_path / "config.json")

    assert isinstance(done.exception, ConfigurationError)
    assert "in use by another process" in str(done.exception)


# ---------------------------------------------------------------- on a chain


async def test_sending_tells_what_was_sent_what_it_cost_and_what_is_left(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    found = on_disk(tmp_path)
    key = found.open()
    devchain, chain, ours = begun(key=key)
    before = await look_on(chain, found)

    facts = await send_on(chain, found, key, Transfer(STRANGER, Nano(NANO_PER_TON), comment("hi")))
    after = await look_on(chain, found)

    assert ours.address_text() == found.address
    assert (before["balance"], before["balance_nano"], before["is_deployed"]) == ("10 TON", 10**10, False)
    assert (facts["sent"], facts["sent_nano"]) == ("1 TON", NANO_PER_TON)
    assert facts["balance_nano"] == after["balance_nano"] == 9 * NANO_PER_TON - int(str(facts["fee_nano"]))
    assert after["is_deployed"]
    assert received(devchain, ours.account, STRANGER) == NANO_PER_TON
    json.dumps([before, facts, after])


async def test_money_that_would_come_back_is_not_sent(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    found = on_disk(tmp_path)
    key = found.open()
    devchain, chain, ours = begun(key=key)

    with pytest.raises(ConfigurationError, match="would come back") as caught:
        await send_on(chain, found, key, Transfer(STRANGER, Nano(NANO_PER_TON), is_bounceable=True))
    assert TO in caught.value.hint
    assert parse_address(TO, global_id=found.global_id).account == STRANGER

    # To a wallet that is there it is.
    await send_on(chain, found, key, Transfer(STRANGER, Nano(NANO_PER_TON)))
    await send_on(chain, found, key, Transfer(ours.account, Nano(NANO_PER_TON), is_bounceable=True))
    assert received(devchain, ours.account, ours.account) == NANO_PER_TON


async def test_another_networks_chain_is_refused(tmp_path: Path) -> None:
    found = on_disk(tmp_path, "testnet")
    _, chain, _ = begun()

    for asking in (
        look_on(chain, found),
        settle_on(chain, found, found.open()),
        send_on(chain, found, found.open(), Transfer(STRANGER, Nano(1))),
    ):
        with pytest.raises(ConfigurationError, match="the wallet is on testnet"):
            await asking


@pytest.mark.parametrize("stop_at", [5, 7])
async def test_after_an_interrupted_payment_the_next_command_tells_how_it_ended_and_sends_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, stop_at: int
) -> None:
    found = on_disk(tmp_path)
    key = found.open()
    devchain, chain, ours = begun(key=key)
    transfer = Transfer(STRANGER, Nano(NANO_PER_TON))
    interrupted = Purse(FusedChain(chain, Fuse(stop_at, crash)), key, FileJournal.beside(found.path))
    with pytest.raises(Crash):
        await interrupted.spend(1, [transfer])
    assert (await look_on(chain, found))["is_payment_under_way"]

    with pytest.raises(Unavailable, match=r"nothing was sent.*was made \(1 TON to 0:cccc") as caught:
        await send_on(chain, found, key, transfer)

    assert "again" in caught.value.hint
    assert received(devchain, ours.account, STRANGER) == NANO_PER_TON
    assert not (await look_on(chain, found))["is_payment_under_way"]
    assert await settle_on(chain, found, key) == {"settled": "nothing was under way"}
    await send_on(chain, found, key, transfer)
    assert received(devchain, ours.account, STRANGER) == 2 * NANO_PER_TON


def test_a_send_that_leaves_a_payment_under_way_says_so(tmp_path: Path) -> None:
    found = on_disk(tmp_path)
    private(tmp_path / "w.pending", "{}")

    done = run("send", found.path, TO, "1", "--chain", tmp_path / "nowhere.json")

    assert isinstance(done.exception, ConfigurationError)
    assert "cocoon wallet settle" in done.stderr


async def test_settling_tells_of_a_payment_that_never_will_be_made(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    found = on_disk(tmp_path)
    key = found.open()
    devchain, chain, _ = begun(key=key)
    interrupted = Purse(FusedChain(chain, Fuse(4, crash)), key, FileJournal.beside(found.path))
    with pytest.raises(Crash):
        await interrupted.spend(1, [Transfer(STRANGER, None)])
    devchain.now += 3600

    facts = await settle_on(chain, found, key)

    assert facts == {
        "settled": f"was not made and never will be (all there was to 0:{STRANGER.hex()})",
        "paid": False,
    }


async def test_too_much_is_refused_with_what_to_do(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    found = on_disk(tmp_path)
    key = found.open()
    _, chain, _ = begun(key=key)

    with pytest.raises(Refused, match="too little") as caught:
        await send_on(chain, found, key, Transfer(STRANGER, Nano(10 * NANO_PER_TON)))

    assert found.address in caught.value.hint


def test_the_wallet_of_the_test_words_is_the_one_that_the_commands_find(tmp_path: Path) -> None:
    found = on_disk(tmp_path)

    assert Wallet(found.open().public_key, LOCAL_GLOBAL_ID).address_text() == found.address
    assert read_one(comment("hi")).bits == 48


@pytest.mark.slow
def test_on_a_running_chain_a_wallet_is_made_funded_sent_from_and_emptied(tmp_path: Path) -> None:
    file, other, config = tmp_path / "w", tmp_path / "other", tmp_path / "config.json"
    ours = run("new", file, "--network", "local").stdout.strip()
    theirs = run("new", other, "--network", "local").stdout.strip()

    with running("--state", str(tmp_path / "chain"), "--fund", f"{ours}=5") as (_, steps):
        config.write_text(json.dumps(steps["config"]["config"]))
        before = json.loads(run("show", file, "--chain", config, "--json").stdout)
        sent = run("send", file, theirs, "1.5", "--chain", config, "--comment", "hi", "--json")
        facts = json.loads(sent.stdout)
        emptied = run("send", file, theirs, "--all", "--chain", config)
        after = json.loads(run("show", other, "--chain", config, "--json").stdout)
        settled = run("settle", file, "--chain", config)
    down = run("show", file, "--chain", config, "--json")

    assert before["balance"] == "5 TON"
    assert facts["sent_nano"] == 1_500_000_000
    assert facts["balance_nano"] == 3_500_000_000 - facts["fee_nano"]
    assert "balance               0 TON" in emptied.stdout
    assert 4.98 * NANO_PER_TON < after["balance_nano"] < 5 * NANO_PER_TON
    assert "nothing was under way" in settled.stdout
    # The address is shown all the same.
    assert json.loads(down.stdout)["address"] == ours
    assert "the balance is not known" in down.stderr
    assert down.exit_code == 0


@pytest.mark.slow
def test_a_command_that_is_killed_while_it_pays_has_paid_once_or_never(tmp_path: Path) -> None:
    file, config = tmp_path / "w", tmp_path / "config.json"
    ours = run("new", file, "--network", "local").stdout.strip()
    pending = tmp_path / "w.pending"

    with running("--state", str(tmp_path / "chain"), "--fund", f"{ours}=5") as (_, steps):
        config.write_text(json.dumps(steps["config"]["config"]))
        with subprocess.Popen([*COMMAND, "send", str(file), TO, "1", "--chain", str(config)]) as process:
            while not pending.exists() and process.poll() is None:
                pass
            process.kill()
        was_pending = pending.exists()
        # If it was not sent it is now void.
        ask(control_path(tmp_path / "chain"), Advance(600))
        settled = json.loads(run("settle", file, "--chain", config, "--json").stdout)
        balance = ask(control_path(tmp_path / "chain"), Look(TO)).balance

    assert was_pending
    assert (balance or 0) // 999_000_000 == settled["paid"]
    assert not pending.exists()
