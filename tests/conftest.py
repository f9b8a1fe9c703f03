"""How Hypothesis searches: the same cases each time in the gate, new ones in `make fuzz`.

A gate that draws new cases fails now and then on what a change never touched. So the search for
new ones is a run of its own, and what it finds becomes a test of its own.
"""

import os

from hypothesis import settings

settings.register_profile("gate", derandomize=True)
settings.register_profile("fuzz", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))
