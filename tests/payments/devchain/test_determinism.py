"""The same calls with the same times and seed give the same hashes, in any process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cocoon_p2p.payments.devchain import AccountId, DevChain
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import NOTE, NOW, STRANGER, deployed, say, say_send

SEED = bytes(range(32))

# Told on Linux x86-64, Python 3.11. It changes when the configuration, a block's shape or tonpy does.
STORY = (
    "1ea597a596fc6917cf5d0ed8a79a5030d5815e5171a090669a5257a79cd8dee4"
    "7d5558af64092df13abb92914402c45507fed0ed5844cc426a7a8df0a739d465"
)


def story(seed: bytes = SEED, waited: int = 9) -> str:
    """Tell a chain's whole story by its last masterchain block's hashes."""
    chain = DevChain(now=NOW, seed=seed)
    address = deployed(chain)
    for number in range(20):
        chain.give(AccountId(bytes((number,)) * 32), NANO_PER_TON + number)
    chain.make_block()
    chain.now += waited
    chain.give(address, NANO_PER_TON, body=say(NOTE))
    chain.give(address, NANO_PER_TON, body=say_send(STRANGER, 1000, times=3))
    chain.make_block()
    name = chain.make_block().master.id
    return (name.root_hash + name.file_hash).hex()


def test_a_story_that_is_told_twice_is_the_same_and_the_one_that_was_written_down() -> None:
    assert story() == story() == STORY


@pytest.mark.parametrize("other", [{"seed": bytes(32)}, {"waited": 10}])
def test_another_seed_or_another_time_is_another_story(other: dict[str, bytes | int]) -> None:
    assert story(**other) != story()  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_tells_the_same_story(hash_seed: str) -> None:
    # Python's sets and its `hash` differ with this variable.
    program = "from tests.payments.devchain.test_determinism import story; print(story())"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    top = Path(__file__).parents[3]

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, cwd=top, env=environment
    )

    assert done.stdout.strip() == story()
