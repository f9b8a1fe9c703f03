"""What an explorer tells: the JSON that it serves and prints, field by field. The page shows the same.

Amounts are in nanoTON, prices in nanoTON for 1,000 tokens before the proxy's commission, times in seconds
since the Unix epoch.

Schema: docs/json/explorer.json; for what is asked over HTTP, docs/explorer.md.
"""

from collections.abc import Mapping, Sequence

import msgspec

from cocoon_p2p.explorer.sightings import Trust


class NodesView(msgspec.Struct, frozen=True):
    """Who was seen, at the last look at the directory."""

    proxies: int
    "With a signed record that holds now."

    servers: int
    "Servers of the directory that answered and are no proxies: bootstraps, mostly."

    silent: int
    "That others named as servers and that did not answer."

    is_whole: bool
    "Whether everybody who was named was asked; else there are more."

    workers_at_least: int
    "1 where a model is offered, else 0: workers publish nothing, and no record says how many there are."


class PricesView(msgspec.Struct, frozen=True):
    """One price for each class of tokens."""

    prompt: int
    cached: int
    completion: int
    reasoning: int


class ModelView(msgspec.Struct, frozen=True):
    """A model, by the name that proxies give it."""

    model: str
    kinds: Sequence[str]
    context_tokens: int
    "The longest that is offered."

    is_demo: bool
    proxies: int
    "That claim to offer it. Nobody has tried."

    lowest: PricesView
    highest: PricesView
    "Of each class by itself."


class ProxyView(msgspec.Struct, frozen=True):
    """A proxy, as its record has it."""

    peer: str
    trust: Trust
    commission_basis_points: int
    models: Sequence[str]
    first_seen: int
    "By this explorer."


class WalletsView(msgspec.Struct, frozen=True):
    """Wallets behind open channels, by what they do there; never which."""

    paying: int
    both: int
    paid: int


class ChainView(msgspec.Struct, frozen=True):
    """What was proven of channels on TON. Never too much; too little where blocks were missed."""

    network: str
    "TON's: mainnet, testnet or local. Channels of all networks that use it are the same there."

    began_at: int
    "When this explorer began to look, by the chain's clock; so is the next."

    at: int
    channels: int
    "Open now."

    locked: int
    "What their contracts hold."

    wallets: WalletsView
    opened: int
    closed: int
    "That were seen to."

    settlements: int
    settled: int
    "Payments out of channels, and what they came to."

    blocks: int
    missed: int
    "Blocks that were read, and that were not."

    left_out: int
    "Channels, or what may be one, that there was no room for."


class ExplorerView(msgspec.Struct, frozen=True):
    """What is public of one network."""

    network: str
    began_at: int
    "When this explorer's history begins."

    crawled_at: int | None
    "When the directory was looked at last; None: not yet."

    nodes: NodesView | None
    trust: Mapping[str, int]
    "Proxies by what their machines proved to this explorer, under the policy that its owner chose."

    models: Sequence[ModelView]
    proxies: Sequence[ProxyView]
    chain: ChainView | None
    "None: no chain is looked at."


class Line(msgspec.Struct, frozen=True):
    """Figures over time."""

    at: Sequence[int]
    values: Mapping[str, Sequence[int | None]]
    "By name, one for each time; None: it was not seen then."


class HistoryView(msgspec.Struct, frozen=True):
    """How it came to that. Older points are fewer."""

    nodes: Line
    "`proxies`, `servers`."

    prompt_prices: Line
    completion_prices: Line
    "The lowest, by model."

    chain: Line
    "`locked` (nanoTON), `channels`."

    settlements: Line
    "`number`, `amount` (nanoTON), by hour."
