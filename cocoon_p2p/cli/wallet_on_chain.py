"""What `cocoon wallet` does once it has a chain: look, send, and settle what was interrupted.

What is found out comes as plain facts in JSON's types, money both as people read it and in nanoTON.
"""

import os

from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.payments.address import parse_address, spell_address
from cocoon_p2p.payments.chain import Chain
from cocoon_p2p.payments.wallet import Transfer, WalletKey, check_transfers, comment
from cocoon_p2p.payments.wallet.journal import End, Paid
from cocoon_p2p.payments.wallet.landing import Spending
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.payments.wallet.spending_file import FileJournal
from cocoon_p2p.payments.wallet.wallet_file import WalletFile
from cocoon_p2p.units import Nano, format_ton, parse_ton

_NUMBER_BYTES = 7


def transfer_of(
    found: WalletFile, to: str, amount: str | None, *, everything: bool, text: str | None
) -> Transfer:
    """Read what is to be sent.

    Raises:
        ConfigurationError: The address or the amount cannot be, or the comment is too long.
    """
    if (amount is None) is not everything:
        raise ConfigurationError("send an amount, or --all", hint="cocoon wallet send FILE TO AMOUNT")
    address = parse_address(to, global_id=found.global_id)
    try:
        nano = None if amount is None else parse_ton(amount)
    except ValueError as exc:
        raise ConfigurationError(str(exc), hint="write an amount in TON, such as 0.5") from None
    body = None if text is None else comment(text)
    transfer = Transfer(address.account, nano, body, is_bounceable=address.is_bounceable)
    check_transfers([transfer])
    return transfer


async def send_on(chain: Chain, found: WalletFile, key: WalletKey, transfer: Transfer) -> dict[str, object]:
    """Send, and say what it came to. What was interrupted before is settled first, and then nothing is sent.

    Raises:
        ConfigurationError: The chain is another network's, or nobody is there to take the money.
        Unavailable: A payment that was interrupted had to be settled first; the text says how it ended.
        Also as `Purse.spend`.
    """
    purse, earlier, end = await _settled(chain, found, key)
    if earlier is not None:
        raise Unavailable(
            f"nothing was sent: first an earlier payment had to be settled, which {_spell_end(earlier, end)}",
            hint="to send this one as well, give the command again",
        )
    if transfer.is_bounceable and (await chain.account(transfer.to)).code is None:
        unbounceable = spell_address(transfer.to, global_id=found.global_id)
        raise ConfigurationError(
            "nothing is deployed at that address, so the money would come back, less fees",
            hint=f"if it is a wallet that was not used yet, send to {unbounceable}",
        )
    paid = await purse.spend(int.from_bytes(os.urandom(_NUMBER_BYTES)), [transfer])
    after = await chain.account(purse.wallet.account)
    return _paid_facts(paid) | _money("balance", after.balance)


async def settle_on(chain: Chain, found: WalletFile, key: WalletKey) -> dict[str, object]:
    """Say what became of a payment that was interrupted. Raises as `Purse.settle`."""
    _, earlier, end = await _settled(chain, found, key)
    if earlier is None:
        return {"settled": "nothing was under way"}
    facts: dict[str, object] = {"settled": _spell_end(earlier, end), "paid": isinstance(end, Paid)}
    return facts | (_paid_facts(end) if isinstance(end, Paid) else {})


async def _settled(
    chain: Chain, found: WalletFile, key: WalletKey
) -> tuple[Purse, Spending | None, End | None]:
    _check_network(chain, found)
    journal = FileJournal.beside(found.path)
    purse = Purse(chain, key, journal)
    return purse, await journal.pending(), await purse.settle()


async def look_on(chain: Chain, found: WalletFile) -> dict[str, object]:
    """Say what a wallet has."""
    _check_network(chain, found)
    seen = await chain.account(parse_address(found.address, global_id=found.global_id).account)
    pending = await FileJournal.beside(found.path).pending()
    facts = _money("balance", seen.balance) | {"is_deployed": seen.code is not None}
    return facts | {"is_payment_under_way": pending is not None}


def _check_network(chain: Chain, found: WalletFile) -> None:
    if chain.global_id != found.global_id:
        raise ConfigurationError(
            f"the wallet is on {found.network}, the chain is not (wallet={found.global_id} "
            f"chain={chain.global_id})",
            hint=f"give the global.config.json of {found.network}",
        )


def _money(name: str, amount: Nano) -> dict[str, object]:
    return {name: format_ton(amount), f"{name}_nano": int(amount)}


def _paid_facts(paid: Paid) -> dict[str, object]:
    sent = Nano(sum(payment.amount for payment in paid.transaction.sent))
    fee, hash_ = paid.transaction.fees, paid.transaction.hash.hex()
    return _money("sent", sent) | _money("fee", fee) | {"transaction": hash_, "lt": paid.transaction.lt}


def _spell_end(spending: Spending, end: End | None) -> str:
    amounts = [transfer.amount for transfer in spending.transfers]
    what = "all there was" if None in amounts else format_ton(sum(amount or 0 for amount in amounts))
    to = ", ".join(f"0:{transfer.to.hex()}" for transfer in spending.transfers)
    if not isinstance(end, Paid):
        return f"was not made and never will be ({what} to {to})"
    if end.left_out:
        return f"the balance did not cover ({what} to {to})"
    return f"was made ({what} to {to})"
