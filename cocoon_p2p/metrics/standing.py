"""How a node stands: what it is, the network around it, its proxies or workers."""

from collections import Counter
from collections.abc import Iterator

from cocoon_p2p.metrics.definition import (
    EVERYBODY,
    Definition,
    Sample,
    Sight,
    known,
    one_of,
)
from cocoon_p2p.protocols.ids import Why

REACHABILITIES = {each: each for each in ("public", "private", "unknown")}
SEVERITIES = ("fine", "warning", "failure")
_WHYS = frozenset(why.code for why in Why)


def _build(sight: Sight) -> Iterator[Sample]:
    snapshot = sight.snapshot
    yield Sample(1, (snapshot.version, snapshot.role, snapshot.network))


def _findings(sight: Sight) -> Iterator[Sample]:
    if sight.snapshot.checked_at is not None:
        counts = Counter[str](finding.severity for finding in sight.snapshot.findings)
        for severity in SEVERITIES:
            yield Sample(counts[severity], (severity,))


def _checked(sight: Sight) -> list[Sample]:
    checked_at = sight.snapshot.checked_at
    return known(None if checked_at is None else sight.snapshot.now - checked_at)


# ---------------------------------------------------------------- the network


def _connections(sight: Sight) -> Iterator[Sample]:
    connections = sight.snapshot.health.connections
    yield Sample(connections.inbound, ("inbound",))
    yield Sample(connections.outbound, ("outbound",))


def _bootstraps(sight: Sight) -> Iterator[Sample]:
    counts = Counter(each.is_reached for each in sight.snapshot.health.bootstraps)
    for state, label in ((True, "reached"), (False, "missed"), (None, "unasked")):
        yield Sample(counts[state], (label,))


def _records(sight: Sight) -> list[Sample]:
    kept = sight.snapshot.health.kept
    return known(None if kept is None else kept.records)


def _announcements(sight: Sight) -> list[Sample]:
    kept = sight.snapshot.health.kept
    return known(None if kept is None else kept.announcements)


# ---------------------------------------------------------------- proxies, workers


def _proxies(sight: Sight) -> Iterator[Sample]:
    selling = sight.snapshot.selling
    if selling is not None and selling.role == "worker":
        registered = sum(proxy.is_registered for proxy in selling.proxies)
        yield Sample(registered, ("registered",))
        yield Sample(len(selling.proxies) - registered, ("tried",))


def _chances(sight: Sight) -> Iterator[Sample]:
    selling = sight.snapshot.selling
    if selling is None or selling.role != "worker":
        return
    for proxy in selling.proxies:
        yield Sample(proxy.chosen, ("chosen",))
        for each in proxy.not_chosen:
            # One that this version does not know is a number of the proxy's choice.
            yield Sample(each.times, (each.why if each.why in _WHYS else "other",))


def _workers(sight: Sight) -> Iterator[Sample]:
    selling = sight.snapshot.selling
    if selling is not None and selling.role == "proxy":
        resting = sum(worker.rests_seconds > 0 for worker in selling.workers)
        yield Sample(len(selling.workers) - resting, ("standing",))
        yield Sample(resting, ("resting",))


def _canaries(sight: Sight) -> list[Sample]:
    selling = sight.snapshot.selling
    return known(selling.canaries_spent if selling is not None and selling.role == "proxy" else None)


STANDING = (
    Definition(
        name="cocoon_build_info",
        kind="gauge",
        meaning="1; its labels say what runs here",
        labels=("version", "role", "network"),
        read=_build,
    ),
    Definition(
        name="cocoon_ready",
        kind="gauge",
        meaning="1 while the node does what it is there for, as `/readyz` says",
        read=lambda sight: [Sample(sight.snapshot.is_ready)],
    ),
    Definition(
        name="cocoon_start_time_seconds",
        kind="gauge",
        meaning="When the node was started, in seconds since the Unix epoch",
        read=lambda sight: [Sample(sight.snapshot.started_at)],
    ),
    Definition(
        name="cocoon_findings",
        kind="gauge",
        meaning="What the last check of the node found (`cocoon doctor`); none before the first",
        labels=("severity",),
        read=_findings,
    ),
    Definition(
        name="cocoon_check_age_seconds",
        kind="gauge",
        meaning="Since that check",
        read=_checked,
    ),
    Definition(
        name="cocoon_peers_connected",
        kind="gauge",
        meaning="Connections that stand, by who dialled",
        labels=("direction",),
        read=_connections,
    ),
    Definition(
        name="cocoon_reachability",
        kind="gauge",
        meaning="1 for what others found when they dialled this node",
        labels=("state",),
        read=lambda sight: one_of(sight.snapshot.health.reachability, REACHABILITIES),
    ),
    Definition(
        name="cocoon_bootstraps",
        kind="gauge",
        meaning="Configured bootstraps, by whether they answered when last asked",
        labels=("state",),
        read=_bootstraps,
    ),
    Definition(
        name="cocoon_directory_servers",
        kind="gauge",
        meaning="Servers of the directory that this node knows, each dialled and heard",
        read=lambda sight: [Sample(sight.snapshot.health.servers)],
    ),
    Definition(
        name="cocoon_directory_lookup_age_seconds",
        kind="gauge",
        meaning="Since it last searched the directory",
        read=lambda sight: known(sight.snapshot.health.looked_up_seconds_ago),
    ),
    Definition(
        name="cocoon_directory_records",
        kind="gauge",
        meaning="Records that it keeps for others; no series where it serves nobody",
        roles=EVERYBODY,
        read=_records,
    ),
    Definition(
        name="cocoon_directory_announcements",
        kind="gauge",
        meaning="Announcements that it keeps for others",
        roles=EVERYBODY,
        read=_announcements,
    ),
    Definition(
        name="cocoon_proxies",
        kind="gauge",
        meaning="A worker's proxies: those that offer it (`registered`), and those that it only tries",
        labels=("state",),
        roles=("worker",),
        read=_proxies,
    ),
    Definition(
        name="cocoon_chances",
        kind="gauge",
        meaning="What became of a worker's last chances with its proxies: `chosen`, or why not",
        labels=("result",),
        roles=("worker",),
        read=_chances,
    ),
    Definition(
        name="cocoon_workers",
        kind="gauge",
        meaning="A proxy's workers: those that can be chosen (`standing`), and those left alone for a while",
        labels=("state",),
        roles=("proxy",),
        read=_workers,
    ),
    Definition(
        name="cocoon_canaries_spent_nanoton_total",
        kind="counter",
        meaning="What a proxy spent on questions of its own to its workers",
        roles=("proxy",),
        read=_canaries,
    ),
)
