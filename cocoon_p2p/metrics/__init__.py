"""What a node has Prometheus scrape: read off its snapshot and its journal, when somebody asks."""

from cocoon_p2p.metrics.catalogue import DEFINITIONS as DEFINITIONS
from cocoon_p2p.metrics.catalogue import PROCESS_METRICS as PROCESS_METRICS
from cocoon_p2p.metrics.definition import Definition as Definition
from cocoon_p2p.metrics.exposition import Exposition as Exposition
from cocoon_p2p.metrics.exposition import render as render
