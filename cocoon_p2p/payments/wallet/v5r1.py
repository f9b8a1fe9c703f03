"""A wallet on TON, version V5R1: where it is, what it stores, and how it is told to pay.

A wallet is a contract that carries out what its key has signed: a *request*, which pays up to 255
times, is good until a moment, and bears the wallet's sequence number (seqno). The wallet takes a
request if its seqno is the stored one, and counts on; so of all requests that bear one seqno at
most one is ever carried out, and that once.

    request = "sign" | wallet id u32 | valid until u32 | seqno u32 | payments | signature 64 bytes

The request's *name* is the hash of all but the signature. A message's own hash is not enough to know
a request again: whoever sees one may wrap it in another envelope.

The wallet insists on payments that do not undo the rest where one cannot be made (mode + 2): a payment
that the balance does not cover is left out without a word. Whoever sends looks at what was sent.

Spec: TON wallet contract V5 (types.tlb, contracts/wallet_v5.fc); `v5r1.boc` is that
contract's published code (MIT, Copyright (c) 2023 Tonkeeper).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from nacl import bindings

from cocoon_p2p.errors import ConfigurationError, MalformedMessage
from cocoon_p2p.identity import SIGNATURE_SIZE_BYTES
from cocoon_p2p.payments.address import spell_address
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder, Cell, Slice
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.units import NANO_MAX, Nano

CODE_HASH = bytes.fromhex("20834b7b72b112147e1b2fb457b84e74d1a30f04f737d4f62a668e9552d2b72f")
"The hash of V5R1's code, as it is published."

TRANSFERS_MAX = 255
"TON carries out this many actions a transaction."

MESSAGE_SIZE_MAX_BYTES = 65_535
"TON takes no larger message from outside."

COMMENT_SIZE_MAX_BYTES = 960
"Eight cells. A comment is paid for by the bit."

_SIGNED_EXTERNAL = int.from_bytes(b"sign")
_SEND_MESSAGE = 0x0EC3C86D
_PAY_FEES_SEPARATELY, _IGNORE_ERRORS, _CARRY_ALL = 1, 2, 128
_STANDARD_ADDRESS = 0b100
_SIGNATURE_BITS = 8 * SIGNATURE_SIZE_BYTES
_COMMENT_CELL_BYTES = 120


@dataclass(frozen=True, slots=True)
class WalletKey:
    """The key that a wallet obeys. It never shows in `repr`."""

    secret: bytes = field(repr=False)
    "As libsodium keeps it: 64 bytes, seed and public key."

    @classmethod
    def from_seed(cls, seed: bytes) -> "WalletKey":
        return cls(bindings.crypto_sign_seed_keypair(seed)[1])

    @property
    def public_key(self) -> bytes:
        return self.secret[32:]

    def sign(self, hash_: bytes) -> bytes:
        return bindings.crypto_sign(hash_, self.secret)[:SIGNATURE_SIZE_BYTES]


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet on one network. The same key has another wallet, at another address, on each."""

    public_key: bytes
    global_id: int
    "The network's number: -239 for mainnet, -3 for testnet."

    @property
    def wallet_id(self) -> int:
        """Tell this wallet from the key's others: network, workchain 0, version 0, the first of them."""
        return (1 << 31 ^ self.global_id) & 0xFFFFFFFF

    @property
    def account(self) -> AccountId:
        return AccountId(_state_init(self).hash)

    def address_text(self, *, bounceable: bool = False) -> str:
        """Spell the address; on any network but mainnet, as one for tests.

        Args:
            bounceable: Whether money may come back. Not before the wallet has paid for the first time,
                or it does: nothing is deployed there.
        """
        return spell_address(self.account, global_id=self.global_id, bounceable=bounceable)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A payment that a wallet is told to make."""

    to: AccountId

    amount: Nano | None
    "What the receiver gets; the fees come on top. None: all that the wallet has, fees off it."

    body: bytes | None = None
    "What it says, a bag; None: nothing."

    state_init: bytes | None = None
    "What the receiver is deployed with if it is not yet, a bag."

    is_bounceable: bool = False
    "Whether the money comes back if the receiver fails to take it, or is not there."


@dataclass(frozen=True, slots=True)
class Request:
    """What a request says that tells it from others."""

    name: bytes
    "The hash of what is signed."

    seqno: int
    valid_until: int
    "It is carried out before this moment or never, in seconds since the Unix epoch."


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request in its envelope, ready to be handed to a network."""

    request: Request
    message: bytes = field(repr=False)
    "The external message, a bag. Whoever has it can have it carried out: it is as good as the money."


# ---------------------------------------------------------------- where it is, what it stores


@cache
def code() -> bytes:
    """Give the wallet's code, a bag."""
    return files("cocoon_p2p.payments.wallet").joinpath("v5r1.boc").read_bytes()


@cache
def _code() -> Cell:
    return read_one(code())


def _state_init(wallet: Wallet) -> Cell:
    return Builder().uint(0b00110, 5).reference(_code()).reference(_data(wallet)).cell()


def _data(wallet: Wallet) -> Cell:
    """Write what a wallet begins with: signatures are taken, seqno 0, no plug-ins."""
    head = Builder().uint(1, 1).uint(0, 32).uint(wallet.wallet_id, 32)
    return head.octets(wallet.public_key).uint(0, 1).cell()


def read_seqno(wallet: Wallet, code: bytes | None, data: bytes | None) -> int:
    """Read the seqno that the wallet's next request must bear.

    Args:
        wallet: Whose account it is.
        code: The account's code as a chain told it, a bag; None: nothing is deployed.
        data: Its data likewise.

    Raises:
        MalformedMessage: What runs there is not this wallet.
    """
    if code is None or data is None:
        return 0
    if read_one(code).hash != CODE_HASH:
        raise MalformedMessage("not a V5R1 wallet: the account runs other code")
    stored = Slice(read_one(data))
    stored.uint(1)
    seqno, wallet_id, public_key = stored.uint(32), stored.uint(32), stored.octets(32)
    if (wallet_id, public_key) != (wallet.wallet_id, wallet.public_key):
        raise MalformedMessage("the account is another key's wallet")
    return seqno


# ---------------------------------------------------------------- how it is told to pay


def sign_request(
    key: WalletKey,
    wallet: Wallet,
    transfers: Sequence[Transfer],
    *,
    seqno: int,
    valid_until: int,
    deploy: bool,
    nonce: int = 0,
) -> SignedRequest:
    """Sign a request, and write the message that carries it.

    Args:
        key: The wallet's.
        wallet: Who pays.
        transfers: What to pay, in order.
        seqno: The wallet's.
        valid_until: When the request is void, in seconds since the Unix epoch by the chain's clock.
        deploy: Whether nothing is deployed yet: the message then brings the wallet's code along.
        nonce: 64 bits that tell this request from another process's that says the same at the same time.

    Raises:
        ConfigurationError: `transfers` cannot be; see `check_transfers`.
        MalformedMessage: A body or a state is no bag.
    """
    assert key.public_key == wallet.public_key
    check_transfers(transfers)
    head = Builder().uint(_SIGNED_EXTERNAL, 32).uint(wallet.wallet_id, 32)
    head.uint(valid_until, 32).uint(seqno, 32).maybe_reference(_actions(transfers, nonce)).uint(0, 1)
    name = head.cell().hash
    body = head.octets(key.sign(name)).cell()
    message = Builder().uint(0b1000, 4).uint(_STANDARD_ADDRESS, 3).sint(0, 8).octets(wallet.account).coins(0)
    if deploy:
        message.uint(0b11, 2).reference(_state_init(wallet))
    else:
        message.uint(0, 1)
    bag = write_boc(message.maybe_reference(body).cell())
    if len(bag) > MESSAGE_SIZE_MAX_BYTES:
        raise ConfigurationError(
            f"too much to pay in one message (size={len(bag)} limit={MESSAGE_SIZE_MAX_BYTES} bytes)",
            hint="pay in several",
        )
    return SignedRequest(Request(name, seqno, valid_until), bag)


def check_transfers(transfers: Sequence[Transfer]) -> None:
    """Check what can be checked before anything is signed.

    Raises:
        ConfigurationError: There are none or too many, an amount is out of range, or one takes all that
            there is and is not the only one.
    """
    if not 1 <= len(transfers) <= TRANSFERS_MAX:
        raise ConfigurationError(
            f"a wallet pays 1 to {TRANSFERS_MAX} times at once (payments={len(transfers)})"
        )
    for transfer in transfers:
        if transfer.amount is None:
            if len(transfers) > 1:
                raise ConfigurationError("who gets all that there is must be the only one paid")
        elif not 0 < transfer.amount <= NANO_MAX:
            raise ConfigurationError(
                f"an amount out of range (amount={transfer.amount} limit={NANO_MAX} nanoTON)",
                hint="pay at least 1 nanoTON",
            )


def _actions(transfers: Sequence[Transfer], nonce: int) -> Cell:
    """Write the list of what to send (`OutList`): each cell refers to the one before."""
    last = Builder().cell()
    for transfer in transfers:
        how = _CARRY_ALL if transfer.amount is None else _PAY_FEES_SEPARATELY
        action = Builder().reference(last).uint(_SEND_MESSAGE, 32).uint(how | _IGNORE_ERRORS, 8)
        last = action.reference(_internal_message(transfer, nonce)).cell()
    return last


def _internal_message(transfer: Transfer, nonce: int) -> Cell:
    """Write the message that carries the money (`MessageRelaxed`): the sender is filled in on chain."""
    message = Builder().uint(0b01, 2).uint(transfer.is_bounceable, 1).uint(0, 1).uint(0b00, 2)
    message.uint(_STANDARD_ADDRESS, 3).sint(0, 8).octets(transfer.to).money(transfer.amount or 0)
    # No fees yet. When it was created (logical time, time) is written over on chain, so there is room.
    message.coins(0).coins(0).uint(nonce, 64).uint(0, 32)
    if transfer.state_init is None:
        message.uint(0, 1)
    else:
        message.uint(0b11, 2).reference(read_one(transfer.state_init))
    return message.maybe_reference(None if transfer.body is None else read_one(transfer.body)).cell()


def read_request(body: bytes) -> Request | None:
    """Read the request in the body of an external message that a wallet took. None: it is none.

    Args:
        body: A bag.
    """
    try:
        cell = read_one(body)
        head = Slice(cell)
        if head.uint(32) != _SIGNED_EXTERNAL:
            return None
        head.uint(32)
        valid_until, seqno = head.uint(32), head.uint(32)
        unsigned = head.bits_left - _SIGNATURE_BITS
        if unsigned < 0:
            return None
    except MalformedMessage:
        return None
    return Request(_without_signature(cell).hash, seqno, valid_until)


def _without_signature(cell: Cell) -> Cell:
    value = int.from_bytes(cell.data) >> -cell.bits % 8 >> _SIGNATURE_BITS
    builder = Builder().uint(value, cell.bits - _SIGNATURE_BITS)
    for reference in cell.references:
        builder.reference(reference)
    return builder.cell()


def comment(text: str) -> bytes:
    """Write a body that says something to whoever is paid. Everybody can read it.

    Raises:
        ConfigurationError: It is too long.
    """
    data = bytes(4) + text.encode()
    if len(data) > COMMENT_SIZE_MAX_BYTES:
        raise ConfigurationError(
            f"a comment is too long (size={len(data)} limit={COMMENT_SIZE_MAX_BYTES} bytes)",
            hint="say less: it is public, and paid for by the letter",
        )
    parts = [data[at : at + _COMMENT_CELL_BYTES] for at in range(0, len(data), _COMMENT_CELL_BYTES)]
    tail: Cell | None = None
    for part in reversed(parts):
        builder = Builder().octets(part)
        tail = (builder if tail is None else builder.reference(tail)).cell()
    assert tail is not None
    return write_boc(tail)
