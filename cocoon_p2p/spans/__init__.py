"""A span of each exchange, for OpenTelemetry (the extra `otel`)."""

from cocoon_p2p.spans.exporting import open_spans as open_spans
