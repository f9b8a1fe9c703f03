"""Thousands of workers and clients under one rule of choosing: events alone, no network and no money.

The real scheduler, and the rules that are in use elsewhere, are given the same requests in the same
market. What came of it is in docs/simulation.md, which `make market` fills.

    mix       who sells      demand    who buys       desk      a worker at work
    rules     whom a request gets elsewhere           scheduled by the real scheduler
    running   one run        outcome   what came of it
    study     which runs     results   as a file      findings  as tables     plots, figure  as drawings
"""

from cocoon_p2p.testing.market.mix import Market as Market
from cocoon_p2p.testing.market.mix import make_market as make_market
from cocoon_p2p.testing.market.outcome import Outcome as Outcome
from cocoon_p2p.testing.market.outcome import reckon as reckon
from cocoon_p2p.testing.market.running import Run as Run
from cocoon_p2p.testing.market.running import Span as Span
