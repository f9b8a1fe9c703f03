"""A collector of our own: real HTTP, real protobuf."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_SECONDS = 60


class Collector:
    """What was sent to it, and whether it answers at all."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.is_open = threading.Event()
        self.is_open.set()
        self.was_asked = threading.Event()
        self.url = ""

    def exported(self) -> list[tuple[str, Span]]:
        """Give each span, and whose service it is of."""
        found: list[tuple[str, Span]] = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                name = next(
                    each.value.string_value
                    for each in resource.resource.attributes
                    if each.key == "service.name"
                )
                found += [(name, span) for scope in resource.scope_spans for span in scope.spans]
        return found


@contextmanager
def open_collector() -> Iterator[Collector]:
    """Listen on loopback while the block runs."""
    collector = Collector()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.was_asked.set()
            assert collector.is_open.wait(WAIT_SECONDS)
            collector.bodies.append(body if self.path == "/v1/traces" else b"")
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.is_open.set()
        server.shutdown()
        thread.join()
        server.server_close()


def attributes(span: Span) -> dict[str, str | int]:
    """Give a span's attributes."""
    return {
        each.key: each.value.string_value if each.value.HasField("string_value") else each.value.int_value
        for each in span.attributes
    }
