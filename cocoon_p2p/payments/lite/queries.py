"""What is asked of lite servers and what they answer, as bytes.

Only what is used is here, and every length is judged: what answers is a stranger.

Spec: tl/generate/scheme/lite_api.tl, ton_api.tl (`adnl.message.query`).
"""

from dataclasses import dataclass

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.tl import Reader, write_octets

MASTERCHAIN = -1
WHOLE_SHARD = -(1 << 63)
"A workchain that is not split, as servers spell it."

TRANSACTIONS_A_QUERY = 16
LISTED_A_QUERY = 256
"What public servers give at most, of an account's transactions and of a block's."

HASH_BYTES = 32
_MESSAGE_MAX_BYTES = 1024
"Of an error's text that is kept."

_QUERY = 0x798C06DF
_ERROR = 0xBBA9E148
_GET_INFO, _INFO = 0x89B5E62E, 0x85832881
_LOOK_UP, _GET_HEADER, _HEADER = 0xFAC8F71E, 0x21EC069E, 0x752D8219
_GET_ACCOUNT, _ACCOUNT = 0x6B890E25, 0x7079C751
_GET_TRANSACTIONS, _TRANSACTIONS = 0x1C40E7A1, 0x6F26C60B
_SEND, _SENT = 0x690AD482, 0x3950E597
_GET_SHARDS, _SHARDS = 0x74D3FD6B, 0x098FE72D
_LIST_BLOCK, _LISTED = 0x0079DD5C, 0xFB8FFCE4
_TRUE, _FALSE = 0x997275B5, 0xBC799737
_BY_SEQNO = 1
_NAMED, _AFTER = 0b111, 1 << 7
"Of a listing: each transaction's account, time and hash are told; it goes on after a place."


@dataclass(frozen=True, slots=True)
class BlockId:
    """What names a block."""

    workchain: int
    shard: int
    seqno: int
    root_hash: bytes
    file_hash: bytes


@dataclass(frozen=True, slots=True)
class ZeroState:
    """What names a network: the hashes of what it began with."""

    root_hash: bytes
    file_hash: bytes


@dataclass(frozen=True, slots=True)
class InfoAnswer:
    """What a server says of its network."""

    last: BlockId
    "The masterchain's newest block."

    zero_state: ZeroState


@dataclass(frozen=True, slots=True)
class HeaderAnswer:
    block: BlockId
    proof: bytes


@dataclass(frozen=True, slots=True)
class AccountAnswer:
    """What a server shows of an account, after a block."""

    block: BlockId
    "The masterchain's that was asked about."

    shard_block: BlockId
    shard_proof: bytes
    proof: bytes
    state: bytes
    "A bag; empty: there is no account."


@dataclass(frozen=True, slots=True)
class ListingAnswer:
    """Transactions of one block."""

    transactions: bytes
    "A bag with a root for each, in the order of their accounts and times; empty: there is none."

    is_cut_short: bool
    "Whether more follow."


class ServerError(Exception):
    """A server answers that it will not, or cannot."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (code={code})")
        self.code = code
        self.message = message


# ---------------------------------------------------------------- what is asked


def get_info() -> bytes:
    return _query(_GET_INFO)


def look_up(seqno: int, *, workchain: int = MASTERCHAIN, shard: int = WHOLE_SHARD) -> bytes:
    """Ask for the block of a number: the masterchain's, or the one that a shard lay in then."""
    block = _int(workchain) + _long(shard) + _int(seqno)
    return _query(_LOOK_UP, _int(_BY_SEQNO), block)


def get_shards(block: BlockId) -> bytes:
    """Ask for the shards' newest blocks below one of the masterchain's."""
    return _query(_GET_SHARDS, _block(block))


def list_block(block: BlockId, after: tuple[AccountId, int] | None = None) -> bytes:
    """Ask for a block's transactions, whole; `after` the one of an account and a logical time."""
    mode = _NAMED if after is None else _NAMED | _AFTER
    place = b"" if after is None else after[0] + _long(after[1])
    return _query(_LIST_BLOCK, _block(block), _int(mode), _int(LISTED_A_QUERY), place)


def get_header(block: BlockId) -> bytes:
    return _query(_GET_HEADER, _block(block), _int(0))


def get_account(block: BlockId, account: AccountId) -> bytes:
    return _query(_GET_ACCOUNT, _block(block), _int(0), account)


def get_transactions(account: AccountId, lt: int, hash_: bytes) -> bytes:
    """Ask for an account's transactions, from one backwards."""
    lt_bytes = lt.to_bytes(8, "little")
    return _query(_GET_TRANSACTIONS, _int(TRANSACTIONS_A_QUERY), _int(0), account, lt_bytes, hash_)


def send_message(message: bytes) -> bytes:
    return _query(_SEND, write_octets(message))


def _query(number: int, *fields: bytes) -> bytes:
    inner = number.to_bytes(4, "little") + b"".join(fields)
    return _QUERY.to_bytes(4, "little") + write_octets(inner)


def _block(block: BlockId) -> bytes:
    head = _int(block.workchain) + _long(block.shard) + _int(block.seqno)
    return head + block.root_hash + block.file_hash


def _int(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, "little")


def _long(number: int) -> bytes:
    return number.to_bytes(8, "little", signed=True)


# ---------------------------------------------------------------- what is answered


def read_info(answer: bytes) -> InfoAnswer:
    reader = _answered(answer, _INFO)
    last = reader.block()
    # The hash of its state; the workchain that all began with.
    reader.take(HASH_BYTES + 4)
    info = InfoAnswer(last, ZeroState(reader.take(HASH_BYTES), reader.take(HASH_BYTES)))
    reader.end()
    if (last.workchain, last.shard) != (MASTERCHAIN, WHOLE_SHARD):
        raise MalformedMessage("a newest block that is not the masterchain's")
    return info


def read_header(answer: bytes) -> HeaderAnswer:
    reader = _answered(answer, _HEADER)
    block = reader.block()
    reader.take(4)
    header = HeaderAnswer(block, reader.octets())
    reader.end()
    return header


def read_account(answer: bytes) -> AccountAnswer:
    reader = _answered(answer, _ACCOUNT)
    found = AccountAnswer(reader.block(), reader.block(), reader.octets(), reader.octets(), reader.octets())
    reader.end()
    return found


def read_transactions(answer: bytes) -> bytes:
    """Give the transactions, newest first, a bag with a root for each."""
    reader = _answered(answer, _TRANSACTIONS)
    count = reader.number(4, signed=False)
    if count > TRANSACTIONS_A_QUERY:
        raise MalformedMessage(f"more transactions than were asked for (count={count})")
    for _ in range(count):
        reader.block()
    transactions = reader.octets()
    reader.end()
    return transactions


def read_sent(answer: bytes) -> bool:
    """Say whether a message was taken."""
    reader = _answered(answer, _SENT)
    status = reader.number(4, signed=True)
    reader.end()
    return status == 1


def read_shards(answer: bytes) -> bytes:
    """Give the shards (`ShardHashes`), a bag."""
    reader = _answered(answer, _SHARDS)
    reader.block()
    # The proof, which starts from a block's name that others have not agreed on.
    reader.octets()
    shards = reader.octets()
    reader.end()
    return shards


def read_listing(answer: bytes) -> ListingAnswer:
    reader = _answered(answer, _LISTED)
    reader.block()
    reader.take(4)
    more = reader.number(4, signed=False)
    if more not in (_TRUE, _FALSE):
        raise MalformedMessage("neither true nor false")
    transactions = reader.octets()
    reader.octets()
    reader.end()
    return ListingAnswer(transactions, more == _TRUE)


def read_octets(data: bytes) -> bytes:
    """Read `bytes`, and nothing after it."""
    reader = _Reader(data)
    found = reader.octets()
    reader.end()
    return found


def _answered(answer: bytes, wanted: int) -> "_Reader":
    """Begin to read an answer.

    Raises:
        ServerError: It is an error.
        MalformedMessage: It is an answer to something else. All that read answers raise it.
    """
    reader = _Reader(answer)
    number = reader.number(4, signed=False)
    if number == _ERROR:
        code = reader.number(4, signed=True)
        text = reader.octets()[:_MESSAGE_MAX_BYTES].decode("utf-8", "replace")
        raise ServerError(code, text if text.isprintable() else repr(text))
    if number != wanted:
        raise MalformedMessage(f"an answer to something else (number={number:#010x})")
    return reader


class _Reader(Reader):
    __slots__ = ()

    def block(self) -> BlockId:
        return BlockId(
            self.number(4, signed=True),
            self.number(8, signed=True),
            self.number(4, signed=False),
            self.take(HASH_BYTES),
            self.take(HASH_BYTES),
        )
