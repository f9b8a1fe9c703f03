"""Tries a contract with the machine until a rule breaks."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.payments.contract.machine import ChannelMachine

EXAMPLES = 300
"With a fifth of it a planted fault got through in a trial."

STEPS = 25


def run_machine(code: bytes | None = None, **changes) -> None:
    """Run the machine on the contract, or on other code. Raises what broke."""
    machine = type("PlantedMachine", (ChannelMachine,), {"code": code})
    defaults = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=settings(defaults, **changes))


def find_fault(code: bytes) -> str | None:
    """Say in a line how the code broke; None if it did not."""
    try:
        # A fault is only to be found, not to be understood.
        run_machine(code, phases=[Phase.generate], report_multiple_bugs=False)
    except Exception as exc:  # noqa: BLE001 - whatever broke, it was found
        return f"{type(exc).__name__} {exc}".replace("\n", " ")[:60]
    return None
