"""What a running chain's owner can ask of it: money from its faucet, to move its time, what happened.

    {"do": "give", "address": "0:...", "amount": 5000000000}     {"now": ..., "seqno": ..., "balance": ...}
    {"do": "advance", "seconds": 3600}                           {"now": ..., "seqno": ...}
    {"do": "look", "address": "0:..."}                           {"now": ..., "seqno": ..., "balance": ...}
    {"do": "transactions", "address": "0:..."}                   {"transactions": ["te6cc...", ...]}

`amount` and `balance` are in nanoTON, `now` in seconds since the Unix epoch; `seqno` is the
last masterchain block's number, and what was asked for is in it. Transactions are bags of cells in
base64, oldest first, those included that an account had before it was deleted: its last one is
nowhere else to be had, because lite servers find transactions through the account.
"""

import base64
from collections.abc import Callable
from pathlib import Path

import msgspec

from cocoon_p2p import control
from cocoon_p2p.control import Answer, Request, Verb
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.payments.address import parse_address
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain.chain import DevChain
from cocoon_p2p.payments.devchain.clock import TIME_MAX
from cocoon_p2p.units import NANO_MAX


class Give(Request, tag="give", frozen=True):
    """Give an account money out of nothing."""

    address: str
    amount: int


class Advance(Request, tag="advance", frozen=True):
    """Move the chain's time."""

    seconds: int


class Look(Request, tag="look", frozen=True):
    """Ask how an account stands."""

    address: str


Wish = Give | Advance | Look


class Recall(Request, tag="transactions", frozen=True):
    """Ask what has happened to an account."""

    address: str


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the chain stands after a request."""

    now: int = 0
    seqno: int = 0
    balance: int | None = None


class Recalled(msgspec.Struct, frozen=True):
    """What has happened to an account, as far as the chain remembers."""

    transactions: list[str]


RECALL = Verb(Recall, Recalled)

_LT_MAX = (1 << 64) - 1
RECALLED_MAX = 1000
"The most transactions of one account in a reply: the newest."


def control_path(state: Path) -> Path:
    """Give the socket's place: beside the file that the chain is saved in."""
    return state.with_name(state.name + ".sock")


def control_answers(chain: DevChain, make_block: Callable[[], object] | None = None) -> tuple[Answer, ...]:
    """Give all that can be asked of a chain, to serve its socket with; `make_block` as for a lite server."""

    async def answer(wish: Wish) -> Reply:
        return carry_out(chain, wish, make_block or chain.make_block)

    async def recall(wish: Recall) -> Recalled:
        return _recalled(chain, wish.address)

    return (
        Verb(Give, Reply).by(answer),
        Verb(Advance, Reply).by(answer),
        Verb(Look, Reply).by(answer),
        RECALL.by(recall),
    )


def carry_out(chain: DevChain, wish: Wish, make_block: Callable[[], object]) -> Reply:
    """Do what was asked for, and put it into a block.

    Raises:
        ConfigurationError: It cannot be done; the chain is as it was.
    """
    match wish:
        case Give(address, amount):
            _give(chain, address, amount)
            make_block()
            return _reply(chain, balance=chain.account(_account(chain, address)).balance)
        case Advance(seconds):
            _advance(chain, seconds)
            make_block()
            return _reply(chain)
        case Look(address):
            return _reply(chain, balance=chain.account(_account(chain, address)).balance)


def _give(chain: DevChain, address: str, amount: int) -> None:
    if not 0 < amount <= NANO_MAX:
        raise ConfigurationError(f"amount out of range (amount={amount} nanoTON)")
    chain.give(_account(chain, address), amount)


def _advance(chain: DevChain, seconds: int) -> None:
    if not 0 <= seconds <= TIME_MAX - chain.now:
        raise ConfigurationError(f"time moves forward, to {TIME_MAX} at most (seconds={seconds})")
    chain.now += seconds


def _recalled(chain: DevChain, address: str) -> Recalled:
    account = _account(chain, address)
    newest_first = chain.history.transactions(account, up_to_lt=_LT_MAX, count=RECALLED_MAX)
    return Recalled([base64.b64encode(past.transaction.boc).decode() for past in reversed(newest_first)])


def _account(chain: DevChain, address: str) -> AccountId:
    return parse_address(address, global_id=chain.global_id).account


def _reply(chain: DevChain, balance: int | None = None) -> Reply:
    return Reply(now=chain.now, seqno=chain.last.master.id.seqno, balance=balance)


def ask(path: Path, wish: Wish) -> Reply:
    """Ask a running chain, from another process. Blocks for a moment.

    Raises:
        Unavailable: No chain runs there, or it did not answer.
        ConfigurationError: It could not do what was asked; the text says why.
    """
    try:
        return control.ask(path, Verb(type(wish), Reply), wish)
    except Unavailable as exc:
        raise Unavailable(
            f"no local chain answers: {exc}", hint="start it: cocoon devchain --state FILE"
        ) from exc
