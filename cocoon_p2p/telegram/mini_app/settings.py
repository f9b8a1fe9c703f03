"""What the owner of a Mini App decides about its door."""

from dataclasses import dataclass, field

from cocoon_p2p.telegram.mini_app.init_data import AGE_MAX_SECONDS
from cocoon_p2p.units import NANO_PER_TON, Nano

_MAX_COST = Nano(20_000_000)
_TOP_UP_MIN, _TOP_UP_MAX = Nano(NANO_PER_TON // 10), Nano(10 * NANO_PER_TON)


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """What the owner of a Mini App decides."""

    origin: str
    "Where browsers find the door: `https://app.example.org`."

    token: str = field(repr=False)
    "The bot's, whose Mini App it is."

    model: str
    name: str = "cocoon"
    "As wallets show it to their owners."

    icon_url: str = ""
    "A picture of at least 180 x 180 pixels, PNG or ICO."

    max_cost: Nano = _MAX_COST
    "The most that one answer may cost, in nanoTON."

    completion_tokens_max: int = 512
    top_up_min: Nano = _TOP_UP_MIN
    "Less than that is not worth its fees."

    top_up_max: Nano = _TOP_UP_MAX
    "The most that a user pays in at once: what lies there can be spent by whoever has our ledger."

    init_data_age_max_seconds: float = AGE_MAX_SECONDS
