"""A newer build of TON's virtual machine comes to the same: exit codes, fees, balances, every bit.

The local chain runs tonpy's machine. What the machine of `@ton/sandbox` (version 12) makes of the same
accounts and messages is compared by the hashes of the transactions and of the accounts after them.
"""

import base64
import json
from typing import Any

import pytest

from cocoon_p2p.payments.devchain import MessageRejected, local_config
from cocoon_p2p.payments.devchain.native import cell_hash, to_boc
from cocoon_p2p.payments.devchain.tvm import Tvm
from tests.payments.contract.compiler import missing, run_node
from tests.payments.contract.trial import run_machine

EXAMPLES = 60
"Some thousand transactions, every operation among them."


def text(cell) -> str:
    return base64.b64encode(to_boc(cell)).decode()


@pytest.fixture
def rows(monkeypatch):
    """What every transaction on any chain of this test went in and came out as."""
    recorded: list[dict[str, Any]] = []
    transaction = Tvm.transaction

    def record(self, account, message, moment):
        row = {"account": text(account.shard_account), "message": text(message), "now": moment.now}
        row |= {"lt": str(moment.lt), "seed": moment.seed.hex()}
        try:
            done = transaction(self, account, message, moment)
        except MessageRejected as rejected:
            recorded.append(row | {"transaction": None, "after": None, "rejected": rejected.exit_code})
            raise
        after = cell_hash(done.account.shard_account).hex()
        recorded.append(row | {"transaction": done.transaction.hash.hex(), "after": after, "rejected": None})
        return done

    monkeypatch.setattr(Tvm, "transaction", record)
    return recorded


@pytest.mark.slow
def test_a_newer_machine_comes_to_the_same_to_the_last_bit(rows, tmp_path):
    if missing("@ton/sandbox"):
        pytest.skip(missing("@ton/sandbox"))
    run_machine(max_examples=EXAMPLES)
    trace = tmp_path / "trace.json"
    trace.write_text(json.dumps({"config": base64.b64encode(local_config()).decode(), "rows": rows}))

    report = json.loads(run_node("replay.js", str(trace)))

    assert report["different"] == []
    assert report["same"] + report["rejected"] == len(rows)
    assert report["same"] > 1_000
    assert report["rejected"] > 20
