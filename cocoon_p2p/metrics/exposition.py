"""A node's metrics as Prometheus takes them: read off when it scrapes, so nothing is counted in between."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.journal import Journal
from cocoon_p2p.metrics.catalogue import DEFINITIONS
from cocoon_p2p.metrics.definition import Definition, Distribution, Sight, as_label
from cocoon_p2p.overview.snapshot import Snapshot

if TYPE_CHECKING:
    from prometheus_client import Metric

ACCEPT_MAX_LETTERS = 1_000
"A scraper sends some two hundred."


@dataclass(frozen=True, slots=True)
class Exposition:
    """What a scraper is answered."""

    body: bytes
    content_type: str


def render(snapshot: Snapshot, journal: Journal, *, accept: str = "") -> Exposition:
    """Spell a node's metrics out.

    Args:
        snapshot: The node as it is now.
        journal: What it did.
        accept: The scraper's `Accept`: OpenMetrics, if it asks for that; else Prometheus' own text.

    Raises:
        ConfigurationError: `prometheus_client` is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.exposition import choose_encoder
    except ImportError as exc:
        raise ConfigurationError(
            "metrics need prometheus-client", hint="pip install 'cocoon-p2p[page]'"
        ) from exc
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(Sight(snapshot, journal)))
    ProcessCollector(registry=registry)
    try:
        encode, content_type = choose_encoder(accept[:ACCEPT_MAX_LETTERS])
    except Exception:  # noqa: BLE001  # it trips over a version that is no number, and perhaps over more
        encode, content_type = choose_encoder("")
    return Exposition(encode(registry), content_type)


class _Collected:
    """One scrape (`prometheus_client`'s Collector)."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def collect(self) -> "Iterator[Metric]":
        """Give every metric that this node's role has, also those without a value yet."""
        for definition in DEFINITIONS:
            if self._sight.snapshot.role in definition.roles:
                yield _family(definition, self._sight)


def _family(definition: Definition, sight: Sight) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    name, meaning, labels = definition.name, definition.meaning, definition.labels
    if definition.kind == "histogram":
        histogram = HistogramMetricFamily(name, meaning, labels=labels)
        bounds = (*(f"{bound:g}" for bound in definition.bounds), "+Inf")
        for each in _distributions(definition, sight):
            counts = (*each.within, each.count)
            histogram.add_metric(each.labels, list(zip(bounds, counts, strict=True)), each.sum)
        return histogram
    kind = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
    family = kind(name, meaning, labels=labels)
    for texts, value in _values(definition, sight).items():
        family.add_metric(texts, value)
    return family


def _values(definition: Definition, sight: Sight) -> dict[tuple[str, ...], float]:
    """Add up values of the same labels: words that differ may look alike once they are labels."""
    values: dict[tuple[str, ...], float] = {}
    for sample in definition.read(sight):
        assert not isinstance(sample, Distribution), "a histogram has distributions, and nothing else does"
        labels = tuple(map(as_label, sample.labels))
        values[labels] = values.get(labels, 0.0) + sample.value
    return values


def _distributions(definition: Definition, sight: Sight) -> list[Distribution]:
    """As `_values`, of a histogram."""
    found: dict[tuple[str, ...], Distribution] = {}
    for each in definition.read(sight):
        assert isinstance(each, Distribution), "a histogram has distributions"
        labels = tuple(map(as_label, each.labels))
        known = found.get(labels)
        if known is None:
            found[labels] = Distribution(each.within, each.count, each.sum, labels)
        else:
            within = tuple(map(sum, zip(known.within, each.within, strict=True)))
            found[labels] = Distribution(within, known.count + each.count, known.sum + each.sum, labels)
    return list(found.values())
