"""A V5R1 wallet is where other libraries have it, and the real contract takes what is signed."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from pytoniq.contract.wallets.wallet_v5 import WALLET_V5_R1_CODE
from pytoniq.contract.wallets.wallet_v5 import WalletV5R1 as PytoniqV5R1
from pytoniq_core import Cell, StateInit
from ton_core import NetworkGlobalID
from tonutils.contracts.wallet import WalletV5R1 as TonutilsV5R1

from cocoon_p2p.errors import ConfigurationError, MalformedMessage
from cocoon_p2p.payments.address import GLOBAL_IDS
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import MessageRejected, Status, address_of, state_init
from cocoon_p2p.payments.wallet import (
    CODE_HASH,
    COMMENT_SIZE_MAX_BYTES,
    TRANSFERS_MAX,
    SignedRequest,
    Transfer,
    Wallet,
    WalletKey,
    code,
    comment,
    read_request,
    read_seqno,
    sign_request,
)
from cocoon_p2p.payments.wallet.mnemonic import key_from_words, new_words
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.units import NANO_MAX, NANO_PER_TON, Nano
from tests.payments.wallets import KEY, NOW, OTHER, STRANGER, WORDS, balance, begun

MAINNET, TESTNET = GLOBAL_IDS["mainnet"], GLOBAL_IDS["testnet"]
UNTIL = NOW + 60


def paying(
    *transfers: Transfer, wallet: Wallet, seqno: int = 0, valid_until: int = UNTIL, deploy: bool | None = None
) -> SignedRequest:
    deploy = seqno == 0 if deploy is None else deploy
    return sign_request(KEY, wallet, transfers, seqno=seqno, valid_until=valid_until, deploy=deploy)


# ---------------------------------------------------------------- keys and addresses


def test_the_code_is_the_one_that_is_published() -> None:
    assert read_one(code()).hash == CODE_HASH
    assert WALLET_V5_R1_CODE.hash == CODE_HASH


def test_tons_own_test_words_give_the_key_that_all_wallets_give() -> None:
    key = key_from_words(WORDS)

    assert key.secret[:32].hex() == "9d659a6c2234db7f6e4f977e6e8653b9f5946d557163f31034011375d8f3f97d"


class NetworkOnly:
    """As much of a client as a wallet's address needs."""

    def __init__(self, network: NetworkGlobalID) -> None:
        self.network = network


@pytest.mark.slow
@pytest.mark.parametrize("network", [NetworkGlobalID.MAINNET, NetworkGlobalID.TESTNET])
def test_new_words_give_the_key_and_the_addresses_that_two_other_libraries_give(
    network: NetworkGlobalID,
) -> None:
    words = new_words()
    is_test = network is NetworkGlobalID.TESTNET
    client: Any = NetworkOnly(network)

    theirs, _, _, _ = TonutilsV5R1.from_mnemonic(client, list(words))
    ours = Wallet(key_from_words(words).public_key, int(network))

    data = PytoniqV5R1.create_data_cell(ours.public_key, network_global_id=int(network))
    assert theirs.public_key is not None
    assert theirs.public_key.as_bytes == ours.public_key
    assert theirs.address.hash_part == ours.account
    assert StateInit(code=WALLET_V5_R1_CODE, data=data).serialize().hash == ours.account
    for bounceable in (False, True):
        assert ours.address_text(bounceable=bounceable) == theirs.address.to_str(
            is_bounceable=bounceable, is_test_only=is_test
        )


def test_one_key_has_another_wallet_on_each_network() -> None:
    accounts = {Wallet(KEY.public_key, number).account for number in GLOBAL_IDS.values()}

    assert len(accounts) == 3


def test_words_are_new_each_time_and_make_a_wallet() -> None:
    first, second = new_words(), new_words()

    assert first != second
    assert len(first) == 24
    assert key_from_words(first) != key_from_words(second)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (WORDS[:23], "a wallet has 24 words"),
        ([*WORDS, "road"], "a wallet has 24 words"),
        ([], "a wallet has 24 words"),
        ([*WORDS[:5], "xylograph", *WORDS[6:]], "word 6 of 24"),
        ([word.upper() for word in WORDS], "not among the words"),
        ([*WORDS[:22], WORDS[23], WORDS[22]], "no wallet's"),
    ],
)
def test_words_that_are_no_wallets_are_refused_and_not_repeated(words: list[str], what: str) -> None:
    with pytest.raises(ConfigurationError, match=what) as caught:
        key_from_words(words)

    told = f"{caught.value} {caught.value.hint}".split()
    assert not {"xylograph", "hospital", "solution", "HOSPITAL"} & set(told)


def test_a_key_does_not_show() -> None:
    assert "KKK" not in repr(KEY)
    assert KEY.secret.hex() not in repr(KEY)


# ---------------------------------------------------------------- what the real contract takes


def test_a_first_payment_deploys_the_wallet_and_pays() -> None:
    devchain, _, wallet = begun()

    devchain.send(paying(Transfer(STRANGER, Nano(NANO_PER_TON)), wallet=wallet).message)

    account = devchain.account(address_of(state_of(wallet)))
    assert account.status is Status.ACTIVE
    assert read_seqno(wallet, account.code, account.data) == 1
    assert balance(devchain, STRANGER) == NANO_PER_TON


def state_of(wallet: Wallet) -> bytes:
    data = PytoniqV5R1.create_data_cell(wallet.public_key, network_global_id=wallet.global_id)
    return state_init(code(), data.to_boc())


def test_a_request_is_taken_once_and_only_in_its_turn() -> None:
    devchain, _, wallet = begun()
    payment = Transfer(STRANGER, Nano(NANO_PER_TON))
    first = paying(payment, wallet=wallet)
    devchain.send(first.message)

    for request in (first, paying(payment, wallet=wallet, seqno=2)):
        with pytest.raises(MessageRejected) as caught:
            devchain.send(request.message)
        assert caught.value.exit_code == 133
    devchain.send(paying(payment, wallet=wallet, seqno=1).message)

    assert balance(devchain, STRANGER) == 2 * NANO_PER_TON


def test_a_request_is_void_from_its_moment_on() -> None:
    devchain, _, wallet = begun()
    payment = Transfer(STRANGER, Nano(1))

    with pytest.raises(MessageRejected) as caught:
        devchain.send(paying(payment, wallet=wallet, valid_until=NOW).message)
    devchain.send(paying(payment, wallet=wallet, valid_until=NOW + 1).message)

    assert caught.value.exit_code == 136


def test_another_networks_request_is_not_taken() -> None:
    devchain, _, wallet = begun()
    devchain.send(paying(Transfer(STRANGER, Nano(1)), wallet=wallet).message)
    elsewhere = paying(Transfer(STRANGER, Nano(1)), wallet=Wallet(KEY.public_key, MAINNET), seqno=1)
    body = write_boc(read_one(elsewhere.message).references[0])

    with pytest.raises(MessageRejected) as caught:
        devchain.send(enveloped(wallet.account, body))

    assert caught.value.exit_code == 134


def enveloped(account: AccountId, body: bytes, *, import_fee: int = 0) -> bytes:
    """Put a request into another envelope than ours, as anybody can."""
    head = Builder().uint(0b1000, 4).uint(0b100, 3).sint(0, 8).octets(account).coins(import_fee)
    return write_boc(head.uint(0, 1).uint(1, 1).reference(read_one(body)).cell())


async def test_255_payments_go_in_one_request_with_all_that_each_carries() -> None:
    devchain, chain, wallet = begun(given=100 * NANO_PER_TON)
    said = comment("thank you, " * 60)
    transfers = [Transfer(AccountId(number.to_bytes(32)), Nano(number)) for number in range(1, TRANSFERS_MAX)]
    transfers.append(Transfer(STRANGER, Nano(NANO_PER_TON), body=said))

    devchain.send(paying(*transfers, wallet=wallet).message)

    (_, done) = await chain.transactions(wallet.account)
    assert [(one.other, one.amount) for one in done.sent] == [(one.to, one.amount) for one in transfers]
    assert read_one(done.sent[-1].body).hash == read_one(said).hash
    assert not done.is_aborted


def test_a_payment_can_deploy_its_receiver() -> None:
    devchain, _, wallet = begun()
    other = Wallet(WalletKey.from_seed(b"O" * 32).public_key, wallet.global_id)
    receiver = Transfer(other.account, Nano(NANO_PER_TON), state_init=state_of(other))

    devchain.send(paying(receiver, wallet=wallet).message)

    account = devchain.account(address_of(state_of(other)))
    assert account.status is Status.ACTIVE
    assert read_seqno(other, account.code, account.data) == 0


@pytest.mark.parametrize("bounces", [False, True])
def test_money_for_nobody_comes_back_only_if_it_is_told_to(bounces: bool) -> None:
    devchain, _, wallet = begun()

    devchain.send(
        paying(Transfer(STRANGER, Nano(NANO_PER_TON), is_bounceable=bounces), wallet=wallet).message
    )

    assert (balance(devchain, STRANGER) == 0) is bounces
    assert (balance(devchain, wallet.account) > 9.9 * NANO_PER_TON) is bounces


def test_who_gets_all_gets_all() -> None:
    devchain, _, wallet = begun()

    devchain.send(paying(Transfer(STRANGER, None), wallet=wallet).message)

    assert balance(devchain, wallet.account) == 0
    assert 9.99 * NANO_PER_TON < balance(devchain, STRANGER) < 10 * NANO_PER_TON


@pytest.mark.parametrize(
    ("transfers", "what"),
    [
        ([], "1 to 255"),
        ([Transfer(STRANGER, Nano(1))] * 256, "1 to 255"),
        ([Transfer(STRANGER, Nano(0))], "out of range"),
        ([Transfer(STRANGER, Nano(-1))], "out of range"),
        ([Transfer(STRANGER, Nano(NANO_MAX + 1))], "out of range"),
        ([Transfer(STRANGER, None), Transfer(OTHER, Nano(1))], "the only one"),
        (
            [Transfer(STRANGER, Nano(1), body=comment(f"{n:04}" * 225)) for n in range(80)],
            "in one message",
        ),
    ],
)
def test_a_payment_that_cannot_be_is_refused_before_it_is_signed(
    transfers: list[Transfer], what: str
) -> None:
    wallet = Wallet(KEY.public_key, TESTNET)

    with pytest.raises(ConfigurationError, match=what):
        paying(*transfers, wallet=wallet)


# ---------------------------------------------------------------- what is read


@pytest.mark.slow
def test_whoever_pays_need_not_load_other_peoples_ton_libraries() -> None:
    code = (
        "import sys, cocoon_p2p.payments.wallet.spending, cocoon_p2p.payments.wallet.spending_file\n"
        "import cocoon_p2p.payments.wallet.wallet_file\n"
        "heavy = {'pytoniq', 'pytoniq_core', 'tonpy', 'libp2p', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_a_wallet_that_is_not_deployed_begins_at_0() -> None:
    assert read_seqno(Wallet(KEY.public_key, TESTNET), None, None) == 0


def test_other_code_and_another_keys_wallet_are_no_wallet_of_ours() -> None:
    devchain, _, wallet = begun()
    devchain.send(paying(Transfer(STRANGER, Nano(1)), wallet=wallet).message)
    account = devchain.account(address_of(state_of(wallet)))
    assert account.data is not None

    with pytest.raises(MalformedMessage, match="other code"):
        read_seqno(wallet, account.data, account.data)
    with pytest.raises(MalformedMessage, match="another key"):
        read_seqno(replace(wallet, public_key=bytes(32)), account.code, account.data)
    with pytest.raises(MalformedMessage, match="another key"):
        read_seqno(replace(wallet, global_id=MAINNET), account.code, account.data)


def test_a_request_is_known_again_in_any_envelope_and_with_any_signature() -> None:
    wallet = Wallet(KEY.public_key, TESTNET)
    signed = paying(Transfer(STRANGER, Nano(1)), wallet=wallet, seqno=7)
    body = read_one(signed.message).references[0]
    other = Builder().uint(int.from_bytes(body.data) >> -body.bits % 8 ^ 1, body.bits)
    other.reference(body.references[0])

    assert read_request(write_boc(body)) == signed.request
    assert read_request(write_boc(other.cell())) == signed.request
    assert (signed.request.seqno, signed.request.valid_until) == (7, UNTIL)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"noise",
        write_boc(Builder().cell()),
        write_boc(Builder().uint(0x7369676E, 32).cell()),
        write_boc(Builder().uint(0x7369676E, 32).uint(0, 96 + 511).cell()),
        write_boc(Builder().uint(0x73696E74, 32).uint(0, 96 + 514).cell()),
    ],
)
def test_what_is_no_request_is_not_taken_for_one(body: bytes) -> None:
    assert read_request(body) is None


async def test_a_comment_is_read_by_other_libraries() -> None:
    text = "für dich: " + "ö" * 300
    cell = Cell.one_from_boc(comment(text))

    data = cell.begin_parse()
    assert data.load_uint(32) == 0
    assert data.load_snake_string() == text
    with pytest.raises(ConfigurationError, match="too long"):
        comment("x" * COMMENT_SIZE_MAX_BYTES)


async def test_the_chain_shows_the_request_that_was_taken() -> None:
    devchain, _, wallet = begun()
    chain = LocalChain(devchain)
    signed = paying(Transfer(STRANGER, Nano(1)), wallet=wallet)

    await chain.send(signed.message)

    (_, done) = await chain.transactions(wallet.account)
    assert done.received is not None
    assert read_request(done.received.body) == signed.request
    assert done.message_hash == read_one(signed.message).hash
