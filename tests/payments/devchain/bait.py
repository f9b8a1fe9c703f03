"""A contract that misbehaves on demand (bait.tolk), and what to say to it."""

from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder, Cell, Slice
from cocoon_p2p.payments.devchain import AccountId, DevChain, address_of, state_init
from cocoon_p2p.payments.devchain.messages import write_address
from cocoon_p2p.units import NANO_PER_TON

CODE = bytes.fromhex(
    "b5ee9c7201021301000138000114ff00f4a413f4bcf2c80b01020120020302014804050018f2d70b1fc00992f800e0f22101"
    "f6d0f8919130e020c7009130e0d31f21c00193f2c04de021c0028e13c8f810cf0bfff835cf0a1ff823cf0b1fc9ed54de21c0"
    "03925bebe021c0048e22d307d307d307fa40fa00058e1222c8cb0522cf1621fa0270cf0b6ac924fb00e45f04de21c0058e11"
    "c8cf8588f828cf1675cf0b8ec98040fb00de01c006e302300602012007080028fa40308100a0c8cf850812ce70cf0b6ec901"
    "fb00020158090a0201200d0e0201200b0c0017b4822e126a603732349d06300007b1e5e8200015b116dbc00064c81bc0b920"
    "0201200f100013ba0ac6f0001926f01e4802012011120009b4bffe46f00015b3ae65e080697ffb50f620003bb3ad3e08fe09"
    "7e09dbc43e0a3e0d7e042004fe0cfe0a9c6040fa1c3e0e20"
)

THROW, NOTE, LOOP, SEND, AGAIN, DESTROY = range(1, 7)
ACCEPTED = 9

NOW = 1_800_000_000
STRANGER = AccountId(b"a stranger's account, uninit ...")
PLAIN_MODE, CARRY_REST, CARRY_ALL = 0, 64, 128


def bait(salt: int = 0) -> tuple[AccountId, bytes]:
    """Give the address and the deployment of one of many baits."""
    init = state_init(CODE, write_boc(Builder().uint(salt, 64).cell()))
    return address_of(init), init


def deployed(chain: DevChain, salt: int = 0, amount: int = 10 * NANO_PER_TON) -> AccountId:
    address, init = bait(salt)
    chain.give(address, amount, init=init)
    return address


def say(op: int) -> bytes:
    return write_boc(Builder().uint(op, 32).cell())


def say_send(
    to: AccountId,
    amount: int,
    *,
    times: int = 1,
    mode: int = PLAIN_MODE,
    bounce: bool = False,
    workchain: int = 0,
) -> bytes:
    builder = Builder().uint(SEND, 32).uint(times, 8).uint(mode, 8).uint(0x18 if bounce else 0x10, 8)
    return write_boc(write_address(builder, to, workchain).coins(amount).cell())


def say_destroy(heir: AccountId) -> bytes:
    return write_boc(write_address(Builder().uint(DESTROY, 32), heir).cell())


def arguments(*numbers: int) -> bytes:
    """Write a stack of numbers, the last on top."""
    cell = Builder().cell()
    for number in numbers:
        cell = Builder().reference(cell).uint(1, 8).sint(number, 64).cell()
    return write_boc(Builder().uint(len(numbers), 24).root_of(cell).cell())


def result(stack: bytes) -> list[int | Cell]:
    """Read a stack of numbers, cells and slices, the last on top."""
    reader = Slice(read_one(stack))
    found: list[int | Cell] = []
    for _ in range(reader.uint(24)):
        rest = reader.reference()
        found.append(_value(reader))
        reader = Slice(rest)
    return found[::-1]


def _value(reader: Slice) -> int | Cell:
    kind = reader.uint(8)
    if kind == 1:
        return reader.sint(64)
    if kind == 2:
        assert reader.uint(8) == 0
        return reader.sint(256)
    assert kind in (3, 4), kind
    return reader.reference()
