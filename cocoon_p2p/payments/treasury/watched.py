"""What a watcher has to know of a channel: its deployment and the newest voucher, all of it public.

Whoever reads it can claim for the payee, and do nothing else. As a line of a file it is a JSON object:

    {"channel": "ab..", "network": -239, "payer": "..", "payee": "..", "payer_key": "..", "payee_key": "..",
     "close_delay_seconds": 86400, "salt": "..", "epoch": 1, "total": 5, "signature": ".."}

Amounts are in nanoTON, bytes in hexadecimal digits. The id follows from the deployment, and the voucher is
by the payer's key: a line that was altered is refused.

Spec: payments/settlement.md (The voucher on chain, Closing alone).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec

from cocoon_p2p.errors import ConfigurationError, VoucherRejected
from cocoon_p2p.identity import SIGNATURE_SIZE_BYTES
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.contract import (
    CLOSE_DELAY_SECONDS_MAX,
    SALT_SIZE_BYTES,
    AccountId,
    Deployment,
)
from cocoon_p2p.payments.voucher import check_voucher
from cocoon_p2p.protocols.messages import ChannelId, Voucher
from cocoon_p2p.units import NANO_MAX, Nano

LINE_MAX_BYTES = 4096
CHANNELS_MAX = 100_000

T = TypeVar("T", bound=bytes)

_Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_Salt = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{{2 * SALT_SIZE_BYTES}}}$")]
_Signature = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{{2 * SIGNATURE_SIZE_BYTES}}}$")]
_GlobalId = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
_Delay = Annotated[int, msgspec.Meta(ge=0, le=CLOSE_DELAY_SECONDS_MAX)]
_Epoch = Annotated[int, msgspec.Meta(ge=1, le=NANO_MAX)]
_Total = Annotated[int, msgspec.Meta(ge=0, le=NANO_MAX)]


@dataclass(frozen=True, slots=True)
class Watched:
    """A channel, and the best voucher for it."""

    deployment: Deployment
    voucher: Voucher

    @property
    def channel(self) -> ChannelId:
        return ChannelId(self.voucher.channel)


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the file."""

    channel: _Id
    network: _GlobalId
    payer: _Id
    payee: _Id
    payer_key: _Id
    payee_key: _Id
    close_delay_seconds: _Delay
    salt: _Salt
    epoch: _Epoch
    total: _Total
    signature: _Signature


_DECODER = msgspec.json.Decoder(_Line)


def write_line(watched: Watched) -> str:
    """Spell a channel and its voucher as a line, without its end."""
    deployment, voucher = watched.deployment, watched.voucher
    line = _Line(
        channel=voucher.channel.hex(),
        network=deployment.global_id,
        payer=deployment.payer.hex(),
        payee=deployment.payee.hex(),
        payer_key=deployment.payer_key.hex(),
        payee_key=deployment.payee_key.hex(),
        close_delay_seconds=deployment.close_delay_seconds,
        salt=deployment.salt.hex(),
        epoch=voucher.epoch,
        total=voucher.total,
        signature=voucher.signature.hex(),
    )
    return msgspec.json.encode(line).decode()


def read_lines(lines: Iterable[bytes]) -> list[Watched]:
    """Read a file's lines; empty ones are passed over.

    Raises:
        ConfigurationError: A line cannot be read, was altered, or is one too many. The text has its number.
    """
    found: list[Watched] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(found) == CHANNELS_MAX:
            raise ConfigurationError(f"line {number}: too many vouchers (max={CHANNELS_MAX})")
        try:
            found.append(_read(line))
        except (msgspec.MsgspecError, VoucherRejected, ValueError) as exc:
            raise ConfigurationError(
                f"line {number}: not a voucher: {exc}", hint="write the file with `cocoon channels export`"
            ) from exc
    return found


def _read(text: bytes) -> Watched:
    if len(text) > LINE_MAX_BYTES:
        raise ValueError(f"too long (max={LINE_MAX_BYTES} bytes)")
    line = _DECODER.decode(text)
    deployment = Deployment(
        global_id=line.network,
        payer=AccountId(bytes.fromhex(line.payer)),
        payee=AccountId(bytes.fromhex(line.payee)),
        payer_key=bytes.fromhex(line.payer_key),
        payee_key=bytes.fromhex(line.payee_key),
        close_delay_seconds=line.close_delay_seconds,
        salt=bytes.fromhex(line.salt),
    )
    channel = contract.channel_id(deployment)
    if channel.hex() != line.channel:
        raise ValueError("the channel's id does not follow from its deployment")
    voucher = Voucher(channel, line.epoch, line.total, bytes.fromhex(line.signature))
    check_voucher(deployment.payer_key, channel, line.epoch, voucher, paid=Nano(0))
    return Watched(deployment, voucher)


def better(one: Watched | None, other: Watched) -> Watched:
    """Give the one of two for the same channel that collects more: of the newer life, or the higher total."""
    if one is None:
        return other
    return max(one, other, key=lambda watched: (watched.voucher.epoch, watched.voucher.total))
