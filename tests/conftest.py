"""What is collected, and how Hypothesis searches: the same cases each time, new ones in `make fuzz`.

A gate that draws new cases fails now and then on what a change never touched. So the search for
new ones is a run of its own, and what it finds becomes a test of its own.
"""

import importlib.util
import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

# It has an environment of its own, with torch: `make test-exllama`.
collect_ignore = [] if importlib.util.find_spec("torch") else ["exllama"]
# The same with speech: `make test-speech`.
collect_ignore += [] if importlib.util.find_spec("ctranslate2") else ["speech"]

# A busy machine takes its time: no example is wrong because it was slow.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("fuzz", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

# A shell that runs the tests in the background has them ignore Ctrl-C, and what they start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Say why a test is skipped: pytest-trio skips it anew, without the reason."""
    try:
        return (yield)
    except pytest.skip.Exception as skipped:
        reason: BaseException | None = skipped if skipped.msg else skipped.__context__
        while isinstance(reason, BaseExceptionGroup):
            (reason,) = reason.exceptions
        raise reason or skipped from None
