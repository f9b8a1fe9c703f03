"""Bad input to the native library, in a process of its own: an abort there would end the whole chain."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Builder, Cell
from cocoon_p2p.payments.devchain import (
    DevChain,
    MessageRejected,
    address_of,
    external_message,
    internal_message,
    state_init,
)
from cocoon_p2p.payments.devchain.account import read_account
from cocoon_p2p.payments.devchain.moment import Moment
from cocoon_p2p.payments.devchain.native import from_boc, to_boc
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import ACCEPTED, NOW, STRANGER, arguments, deployed, say

TIMES = 400


def mutated(data: bytes, draw: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randrange(1, 4)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def random_tree(draw: Random, depth: int = 0) -> Cell:
    builder = Builder().octets(draw.randbytes(draw.randrange(1, 60)))
    for _ in range(draw.randrange(4) if depth < 3 else 0):
        builder.reference(random_tree(draw, depth + 1))
    return builder.cell()


def attempts(draw: Random) -> dict[str, Callable[[], object]]:
    chain = DevChain(now=NOW)
    address = deployed(chain)
    account = chain.account(address)
    message = internal_message(STRANGER, address, NANO_PER_TON)
    outside = external_message(address, say(ACCEPTED))
    moment = Moment(NOW, 10**9, bytes(32))

    def random_message() -> bytes:
        # A proper beginning, so that it gets further than the first bits.
        start = Builder().uint(draw.choice((0b0110, 0b1000, 0b0100)), 4)
        return write_boc(start.octets(draw.randbytes(60)).reference(random_tree(draw)).cell())

    def random_code() -> object:
        init = state_init(write_boc(random_tree(draw)), write_boc(random_tree(draw)))
        address = address_of(init)
        chain.give(address, NANO_PER_TON, body=write_boc(random_tree(draw)), init=init)
        return chain.get_method(address, draw.randrange(1 << 20), arguments(*range(5)))

    return {
        "bag": lambda: chain.deliver(mutated(message, draw)),
        "external": lambda: chain.send(mutated(outside, draw)),
        "message": lambda: chain.tvm.transaction(account, from_boc(random_message()), moment),
        "account": lambda: chain.tvm.transaction(
            read_account(from_boc(mutated(to_boc(account.shard_account), draw))), from_boc(message), moment
        ),
        "code": random_code,
        "body": lambda: chain.give(address, NANO_PER_TON, body=write_boc(random_tree(draw))),
        "stack": lambda: chain.get_method(address, "add", write_boc(random_tree(draw))),
        "stack with bytes changed": lambda: chain.get_method(address, "add", mutated(arguments(2, 3), draw)),
        "method": lambda: chain.get_method(address, draw.randrange(1 << 20), arguments(*range(5))),
    }


def fuzz() -> None:
    for kind in attempts(Random(0)):
        # The last line that is printed names what ended the process.
        print(kind, flush=True)
        draw = Random(kind)
        attempt = attempts(draw)[kind]
        for _ in range(TIMES):
            with suppress(MalformedMessage, MessageRejected):
                attempt()


@pytest.mark.slow
def test_bad_input_is_an_error_and_never_an_abort() -> None:
    program = "from tests.payments.devchain.test_fuzz import fuzz; fuzz()"
    top = Path(__file__).parents[3]

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True, cwd=top, timeout=120
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
