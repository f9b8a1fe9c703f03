"""What a wallet is asked to send, and what it is told about us: TON Connect's JSON.

Spec: github.com/ton-blockchain/ton-connect, requests-responses.md (Sending transactions, App manifest).
"""

import base64
from typing import Any

from cocoon_p2p.payments.address import spell_address
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.wallet import Transfer

ORDER_SECONDS = 300
"How long a wallet's owner may look at it."


def spell_order(transfer: Transfer, *, payer: AccountId, global_id: int, now: float) -> dict[str, Any]:
    """Spell a payment as the request that a page hands to the wallet (`sendTransaction`).

    Args:
        transfer: What to send. Its amount is known.
        payer: The wallet that must send it.
        global_id: The TON network on which.
        now: Seconds since the Unix epoch.
    """
    assert transfer.amount is not None
    message = {
        "address": spell_address(transfer.to, global_id=global_id, bounceable=transfer.is_bounceable),
        "amount": str(transfer.amount),
    }
    if transfer.body is not None:
        message["payload"] = base64.b64encode(transfer.body).decode()
    if transfer.state_init is not None:
        message["stateInit"] = base64.b64encode(transfer.state_init).decode()
    return {
        "valid_until": int(now) + ORDER_SECONDS,
        "network": str(global_id),
        "from": f"0:{payer.hex()}",
        "messages": [message],
    }


def manifest(*, origin: str, name: str, icon_url: str) -> dict[str, str]:
    """Say who we are, as wallets show it to their owners before they connect."""
    return {"url": origin, "name": name, "iconUrl": icon_url}
