"""What the demo says when the money does not add up."""

import json

import pytest

from cocoon_p2p.cli.books import Books, Entry
from cocoon_p2p.cli.chain_books import Balance, ChainBooks, Contract
from cocoon_p2p.cli.demo import Show, conclude
from cocoon_p2p.identity import PeerId
from cocoon_p2p.ledger import ChannelName, ChannelRow, Side
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.units import Nano

PEER = PeerId(bytes(38))
CLIENTS, WORKERS = ChannelId(b"\1" * 32), ChannelId(b"\2" * 32)
CONTRACT = Contract("client", "proxy", "kQ" + "A" * 46)


def end(node: str, side: Side, channel: ChannelId, charged: int) -> Entry:
    row = ChannelRow(ChannelName(side, channel), PEER, b"", None, Phase.CLOSED, charged=Nano(charged))
    return Entry(node, row, capacity=1000)


BOOKS = Books(
    (
        end("client", Side.PAYER, CLIENTS, 189),
        end("proxy", Side.PAYEE, CLIENTS, 189),
        end("proxy", Side.PAYER, WORKERS, 180),
        end("worker-1", Side.PAYEE, WORKERS, 180),
    ),
    faults=(),
)


def chain_books(*, worker: int = 180, proxy_fees: int = 30) -> ChainBooks:
    return ChainBooks(
        (
            Balance("client", before=1000, after=1000 - 189 - 20, fees=20),
            Balance("proxy", before=1000, after=1000 + 9 - 30, fees=proxy_fees),
            Balance("worker-1", before=0, after=worker, fees=0),
        ),
        (CONTRACT,),
    )


def test_where_all_is_accounted_for_there_are_no_faults(capsys: pytest.CaptureFixture[str]) -> None:
    told = chain_books().facts(BOOKS)

    assert conclude({}, BOOKS, chain_books(), Show(is_quiet=False))
    assert (told["reconciles"], told["difference"], told["fees_total"]) == (True, 0, 50)
    assert (told["client_spent"], told["worker_earned"], told["commission"]) == (189, 180, 9)
    assert "agree" in capsys.readouterr().out


def test_a_nanoton_that_a_worker_lacks_is_a_fault_that_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert not conclude({}, BOOKS, chain_books(worker=179), Show(is_quiet=False))

    out = " ".join(capsys.readouterr().out.split())
    assert "worker-1: the chain says 179 nanoTON came in, its ledger says 180" in out
    assert "difference=-1 nanoTON" in out
    assert "agree" not in out


def test_a_fee_that_nobody_listed_is_a_fault() -> None:
    assert chain_books(proxy_fees=29).faults(BOOKS) == (
        "proxy: the chain says 8 nanoTON came in, its ledger says 9",
        "the balances do not add up (difference=-1 nanoTON)",
    )


def test_a_ledger_with_a_fault_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    broken = Books(BOOKS.entries, ("client: replay differs",))

    assert not conclude({}, broken, None, Show(is_quiet=True))

    told = json.loads(capsys.readouterr().out)
    assert (told["chain"], told["channel_addresses"], told["onchain"]) == (None, [], None)
    assert told["faults"] == ["client: replay differs"]


def test_json_tells_the_same_as_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert not conclude({}, BOOKS, chain_books(worker=181), Show(is_quiet=True))

    told = json.loads(capsys.readouterr().out)
    assert told["chain"] == "local"
    assert told["channel_addresses"] == [CONTRACT.address]
    assert (told["onchain"]["reconciles"], told["onchain"]["difference"]) == (False, 1)
    assert len(told["faults"]) == 2
