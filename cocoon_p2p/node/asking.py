"""What a worker asks: by the market, by a rate, or as its file says."""

from cocoon_p2p.config import Loaded, WorkerFile
from cocoon_p2p.identity import NetworkId
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.ledger import Store
from cocoon_p2p.network.directory import Directory
from cocoon_p2p.node.market_prices import MarketPrices
from cocoon_p2p.node.pegged_prices import PeggedPrices, source_of
from cocoon_p2p.node.prices import Prices
from cocoon_p2p.node.served import plans


async def open_prices(
    loaded: Loaded[WorkerFile], engine: Engine, store: Store, network: NetworkId, directory: Directory
) -> Prices:
    """Give the prices of a worker's models, to begin with and to be kept.

    Raises:
        ConfigurationError: They do not go together.
        Unavailable: They are in a unit whose rate is not known, and never was.
    """
    planned, source = plans(loaded, engine), source_of(loaded.settings.price)
    if source is not None:
        pegged = PeggedPrices(planned, source, store)
        await pegged.remember()
        return pegged
    market = MarketPrices(planned, store, network, directory)
    await market.remember()
    return market
