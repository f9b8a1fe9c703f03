"""Spans on their way to a collector, in a thread of OpenTelemetry's: one that is away costs nothing.

    journal --Entry--> Spans --queue--> the SDK's thread --OTLP over HTTP--> collector

What does not fit the queue is dropped, the oldest first. The only module that imports OpenTelemetry.
"""

import logging
from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.journal import Entry
from cocoon_p2p.spans.shaping import BEGINNING, NAME, Shape, SpanId, shape

log = logging.getLogger(__name__)

QUEUE_MAX = 2_048
"Spans that wait to be sent: some megabytes."

BATCH_MAX = 256
DELAY_SECONDS = 2.0
"How long a span waits for others to travel with."

SEND_SECONDS = 5.0
"How long a batch is tried. The thread of a collector that is away does nothing else."

TRACES_PATH = "/v1/traces"


class Spans:
    """One node's spans.

    Args:
        collector: Its base URL.
        role: The node's.
        peer: Who it is.
    """

    def __init__(self, collector: str, *, role: str, peer: PeerId) -> None:
        ours = version("cocoon-p2p")
        self._ids = _Ids()
        self._kind = SpanKind.CLIENT if role == "client" else SpanKind.SERVER
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource(
                {
                    "service.name": f"cocoon-{role}",
                    "service.version": ours,
                    "service.instance.id": peer_id_text(peer),
                }
            ),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        exporter = OTLPSpanExporter(collector.rstrip("/") + TRACES_PATH, timeout=SEND_SECONDS)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _Telling(exporter),
                max_queue_size=QUEUE_MAX,
                schedule_delay_millis=DELAY_SECONDS * 1_000,
                max_export_batch_size=BATCH_MAX,
            )
        )
        self._tracer = self._provider.get_tracer("cocoon_p2p", ours)

    def note(self, entry: Entry) -> None:
        """Queue the span of an exchange that has ended. Returns at once."""
        if (shaped := shape(entry)) is not None:
            self._queue(shaped)

    def close(self) -> None:
        """Send what waits, and end the thread. Blocks, at worst until a collector that hangs is given up."""
        self._provider.shutdown()

    def _queue(self, shaped: Shape) -> None:
        self._ids.next = shaped.id
        span = self._tracer.start_span(
            NAME,
            context=Context(),
            kind=self._kind,
            attributes=shaped.attributes,
            links=[
                Link(SpanContext(link.to.trace, link.to.span, is_remote=True), {"cocoon.link": link.why})
                for link in shaped.links
            ],
            start_time=shaped.began,
        )
        if shaped.first_token is not None:
            span.add_event(BEGINNING, timestamp=shaped.first_token)
        if shaped.error:
            span.set_status(Status(StatusCode.ERROR, shaped.error))
        span.end(end_time=shaped.ended)


class _Ids(IdGenerator):
    """Gives the ids of the span that is begun next."""

    next = SpanId(0, 0)

    def generate_trace_id(self) -> int:
        return self.next.trace

    def generate_span_id(self) -> int:
        return self.next.span


class _Telling(SpanExporter):
    """Says once when the collector goes away, and once when it is back."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_taken = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        is_taken = result is SpanExportResult.SUCCESS
        if is_taken is not self._is_taken:
            self._is_taken = is_taken
            if is_taken:
                log.info("spans are taken again")
            else:
                log.warning("spans are not taken", extra={"dropped": len(spans)})
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
