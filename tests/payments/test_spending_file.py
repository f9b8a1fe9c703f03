"""What a wallet is about to pay is on disk, whole, until it is known what became of it."""

import os
from pathlib import Path

import pytest

from cocoon_p2p import private_files
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.payments.wallet import Transfer, Wallet, comment, sign_request
from cocoon_p2p.payments.wallet.journal import NotPaid
from cocoon_p2p.payments.wallet.landing import Spending
from cocoon_p2p.payments.wallet.spending_file import FileJournal
from cocoon_p2p.units import Nano
from tests.payments.wallets import KEY, NOW, OTHER, STRANGER


def spending(number: int = 7) -> Spending:
    wallet = Wallet(KEY.public_key, -3)
    transfers = (
        Transfer(STRANGER, Nano(5), comment("hello"), comment("not a state, but a bag"), is_bounceable=True),
        Transfer(OTHER, Nano(1 << 62)),
    )
    signed = sign_request(KEY, wallet, transfers, seqno=3, valid_until=NOW, deploy=False)
    return Spending(number, wallet.account, transfers, 1 << 60, signed, (b"\xff" * 32, signed.request.name))


def left(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_what_is_saved_is_read_again_until_it_is_done(tmp_path: Path) -> None:
    journal = FileJournal.beside(tmp_path / "wallet")
    assert await journal.pending() is None

    await journal.save(spending())
    (file,) = left(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert await FileJournal.beside(tmp_path / "wallet").pending() == spending()
    await journal.save(spending(8))
    assert await journal.pending() == spending(8)
    for _ in range(2):
        await journal.done(8, NotPaid(8))

    assert await journal.pending() is None
    assert left(tmp_path) == []


async def test_a_wallet_and_a_link_to_it_have_one_journal(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "wallet").touch()
    (tmp_path / "elsewhere" / "link").symlink_to(tmp_path / "wallet")

    await FileJournal.beside(tmp_path / "elsewhere" / "link").save(spending())

    assert await FileJournal.beside(tmp_path / "wallet").pending() == spending()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"version":1}', b'{"version":2,"spending":null}'])
async def test_a_journal_that_cannot_be_read_stops_all_spending(tmp_path: Path, content: bytes) -> None:
    private_files.create(tmp_path / "wallet.pending", content)

    with pytest.raises(ConfigurationError, match="whether a payment is under way") as caught:
        await FileJournal.beside(tmp_path / "wallet").pending()

    assert caught.value.hint


async def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal.beside(tmp_path / "wallet")
    await journal.save(spending())

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ConfigurationError, match="Input/output error"):
        await journal.save(spending(8))

    assert await journal.pending() == spending()
    assert len(left(tmp_path)) == 1
