"""Writes payments/vectors/contract.json: `python -m tests.payments.contract.generate_vectors`.

A change of what it writes is a change of the contract: other addresses, and vouchers that fit no more.
"""

import json
from pathlib import Path

from nacl import bindings

from cocoon_p2p.payments import contract
from cocoon_p2p.payments.close_terms import close_terms_hash, sign_close_terms
from cocoon_p2p.payments.contract import AccountId, Deployment
from cocoon_p2p.payments.voucher import sign_voucher, voucher_body, voucher_hash
from cocoon_p2p.protocols.messages import CloseTerms
from cocoon_p2p.units import Nano

FILE = Path(__file__).parents[3] / "payments" / "vectors" / "contract.json"
TOTAL, EPOCH, VALID_UNTIL, QUERY = Nano(1_234_567_890), 46_000_000_000_001, 1_800_003_600, 77


def make() -> dict[str, object]:
    """Make every vector anew. Bags are hex; so are keys, hashes and signatures."""
    payer_key, payer_secret = bindings.crypto_sign_seed_keypair(b"\x01" * 32)
    payee_key, payee_secret = bindings.crypto_sign_seed_keypair(b"\x02" * 32)
    deployment = Deployment(
        -3, AccountId(b"\xaa" * 32), AccountId(b"\xbb" * 32), payer_key, payee_key, 86_400, bytes(range(16))
    )
    channel = contract.channel_id(deployment)
    voucher = sign_voucher(payer_secret, channel, EPOCH, TOTAL)
    terms = CloseTerms(channel, EPOCH, TOTAL, VALID_UNTIL)
    signatures = [sign_close_terms(secret, terms) for secret in (payer_secret, payee_secret)]
    close = contract.close(
        TOTAL, VALID_UNTIL, payer_signature=signatures[0], payee_signature=signatures[1], query_id=QUERY
    )
    return {
        "code_hash": contract.CODE_HASH.hex(),
        "deployment": {
            "global_id": deployment.global_id,
            "payer": deployment.payer.hex(),
            "payee": deployment.payee.hex(),
            "payer_seed": "01" * 32,
            "payer_key": payer_key.hex(),
            "payee_seed": "02" * 32,
            "payee_key": payee_key.hex(),
            "close_delay_seconds": deployment.close_delay_seconds,
            "salt": deployment.salt.hex(),
        },
        "channel": channel.hex(),
        "epoch": EPOCH,
        "total": TOTAL,
        "valid_until": VALID_UNTIL,
        "query_id": QUERY,
        "voucher": {
            "body": voucher_body(channel, EPOCH, TOTAL).hex(),
            "hash": voucher_hash(channel, EPOCH, TOTAL).hex(),
            "signature": voucher.hex(),
        },
        "close_terms": {
            "hash": close_terms_hash(terms).hex(),
            "payer_signature": signatures[0].hex(),
            "payee_signature": signatures[1].hex(),
        },
        "bodies": {
            "top_up": contract.top_up(QUERY).hex(),
            "claim": contract.claim(TOTAL, voucher, QUERY).hex(),
            "close": close.hex(),
            "start_close": contract.start_close(QUERY).hex(),
            "finish_close": contract.finish_close(QUERY).hex(),
        },
        "external_claim": contract.external_claim(channel, TOTAL, voucher).hex(),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1) + "\n")
