"""One end of one channel, as its owner is shown it: the shape alone, for whoever only reads it."""

import msgspec


class ChannelView(msgspec.Struct, frozen=True, kw_only=True):
    """One end of one channel. Amounts are in nanoTON."""

    channel: str
    side: str
    "Which end we are: `payer` or `payee`."

    peer: str
    phase: str
    has_contract: bool
    "Whether a contract on the chain stands behind it."

    is_settled: bool
    is_connected: bool | None
    "None: only a running node knows."

    capacity_nano: int
    vouchered_nano: int
    charged_nano: int
    running_nano: int | None
    """What is held (by a payer) or accrued (at a payee) for exchanges that have not ended; None: only a
    running node knows."""

    credit_nano: int | None
    "What may still be used up before more is vouchered; None: only a running node knows."

    address: str | None
    "The contract's, as TON's explorers take it; None without one."

    deposit_nano: int
    "What was put into the contract, less what its storage cost; what was collected is still counted."

    claimed_nano: int
    "What the payee has collected from the contract; once that is gone, what it was paid all told."

    close_delay_seconds: int | None
    "How long the payee may still collect once the payer closes alone; None without a contract."

    close_at: int
    """From when the payer may take back what was not claimed, in seconds since the Unix epoch; 0: it has
    not begun to close."""
