"""A market that a test can run, and what it is run with."""

from cocoon_p2p.testing.market.demand import Wanted
from cocoon_p2p.testing.market.desk import Job
from cocoon_p2p.testing.market.mix import Machine, Market, make_market
from cocoon_p2p.testing.market.running import Span

SPAN = Span(warm_up=4.0, window=8.0, cool_down=4.0)
MACHINE = Machine("machine", 1.0, slots=3, prefill=100, decode=10, decode_full=5, price=1_000)


def small_market(seed: int = 0) -> Market:
    return make_market(proxies=4, workers=40, clients=50, seed=seed)


def job(prompt: int = 100, answer: int = 10, *, proxy: int = 0, client: int = 0, at: float = 0.0) -> Job:
    return Job(Wanted(at, client, prompt, answer), proxy)
