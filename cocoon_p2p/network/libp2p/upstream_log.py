"""What libp2p logs, kept off the operator's terminal.

Upstream logs what strangers do at warning and error (a refused protocol, a torn stream, a
failed dial), cuts its logger off from everybody's (`propagate = False`), and gives it no
handler, so all of that lands on stderr by Python's last resort. Here it becomes our own
debug lines: nothing in it asks for a person, and who looks for it finds it by one switch.
"""

import logging

log = logging.getLogger(__name__)


class _AsDebug(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("libp2p says", extra={"said": record.getMessage()[:1024], "by": record.name})


def quieten() -> None:
    """Turn what libp2p logs at warning or above into our debug lines; a second call changes nothing."""
    upstream = logging.getLogger("libp2p")
    if not any(isinstance(handler, _AsDebug) for handler in upstream.handlers):
        upstream.addHandler(_AsDebug())
        upstream.setLevel(logging.WARNING)
        upstream.propagate = False
