"""All metrics there are, in the order in which they are exposed and documented."""

from cocoon_p2p.metrics.money import MONEY
from cocoon_p2p.metrics.standing import STANDING
from cocoon_p2p.metrics.work import WORK

DEFINITIONS = (*STANDING, *WORK, *MONEY)

PROCESS_METRICS = (
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
)
"Of the process, as `prometheus_client` reads them off Linux."


def table() -> str:
    """Write the table of docs/monitoring.md."""
    rows = ["| metric | kind | labels | of | meaning |", "|---|---|---|---|---|"]
    for each in DEFINITIONS:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        of = "all" if len(each.roles) == 4 else ", ".join(each.roles)
        rows.append(f"| `{each.name}` | {each.kind} | {labels} | {of} | {each.meaning} |")
    return "\n".join(rows)
