"""The command `cocoon`. Each subcommand is imported when it is run, so that `--help` stays quick.

Exit codes: 0 done; 1 a fault of ours; 2 wrong usage or configuration; 3 the network or the
machine is in the way, trying again may help; 4 a peer refused; 5 attestation does not
satisfy the policy; 6 a peer broke the protocol; 7 and 8 what `doctor` found will be, or is, in
the way; 130 interrupted.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import cast

import click

from cocoon_p2p import errors, lifeline

# Name: module, attribute, the line that `--help` shows.
_COMMANDS = {
    "demo": ("cocoon_p2p.cli.demo", "demo", "A whole paid network on this machine, and an answer from it."),
    "ask": ("cocoon_p2p.cli.ask", "ask", "Ask once, print the answer."),
    "chat": ("cocoon_p2p.cli.ask", "chat", "Talk to a model."),
    "translate": ("cocoon_p2p.cli.presets", "translate", "Translate a text."),
    "summarize": ("cocoon_p2p.cli.presets", "summarize", "Sum a text up."),
    "transcribe": ("cocoon_p2p.cli.transcribe", "transcribe", "Write speech down."),
    "embed": ("cocoon_p2p.cli.embed", "embed", "Turn texts into vectors."),
    "gateway": ("cocoon_p2p.cli.gateway", "gateway", "OpenAI's API on this machine, and its keys."),
    "models": ("cocoon_p2p.cli.ask", "models", "What can be bought, from whom, at what price."),
    "bootstrap": ("cocoon_p2p.cli.nodes", "bootstrap", "Run a bootstrap node."),
    "proxy": ("cocoon_p2p.cli.nodes", "proxy", "Run a proxy."),
    "worker": ("cocoon_p2p.cli.nodes", "worker", "Run a worker."),
    "bench": ("cocoon_p2p.cli.bench", "bench", "Measure how quick a worker's models are."),
    "channels": ("cocoon_p2p.cli.channels", "channels", "A node's payment channels: open, close, watch."),
    "earnings": ("cocoon_p2p.cli.money", "earnings", "What a node was paid and what it paid."),
    "status": ("cocoon_p2p.cli.status", "status", "How a node does, running or not."),
    "top": ("cocoon_p2p.cli.top", "top", "A running node, live in the terminal."),
    "peers": ("cocoon_p2p.cli.peers", "peers", "The network around a running node."),
    "explorer": (
        "cocoon_p2p.cli.explorer",
        "explorer",
        "What is public of a network, as a page and as JSON.",
    ),
    "doctor": ("cocoon_p2p.cli.doctor", "doctor", "What is the matter with a node, and what to do."),
    "backup": ("cocoon_p2p.cli.backup", "backup", "Seal a node's key, wallet and ledger into one file."),
    "restore": ("cocoon_p2p.cli.backup", "restore", "Put a node back from such a file."),
    "wallet": ("cocoon_p2p.cli.wallet", "wallet", "A TON wallet: make one, look at it, send from it."),
    "receipt": ("cocoon_p2p.cli.receipt", "receipt", "Check a receipt that was kept, offline."),
    "model": ("cocoon_p2p.cli.model", "model", "Look at models and their files."),
    "attest": ("cocoon_p2p.cli.attest", "attest", "Look at evidence, verify it offline, sign policies."),
    "init": ("cocoon_p2p.cli.init", "init", "Write the file of a worker, proxy, bootstrap node or client."),
    "config": ("cocoon_p2p.cli.config", "config", "Check a node's file, and see what holds."),
    "devchain": ("cocoon_p2p.cli.devchain", "devchain", "Run a TON chain of one's own, for trying things."),
}

_EXIT_CODES: tuple[tuple[type[errors.CocoonError], int], ...] = (
    (errors.ConfigurationError, 2),
    (errors.Unavailable, 3),
    (errors.Refused, 4),
    (errors.AttestationFailed, 5),
    (errors.RemoteProtocolError, 6),
)


class _LazyGroup(click.Group):
    """A group that knows its commands' names and first lines without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in _COMMANDS.items()])


@click.group(cls=_LazyGroup)
@click.version_option(package_name="cocoon-p2p", prog_name="cocoon")
@click.option("--verbose", is_flag=True, help="Show the trace of what went wrong.")
def cocoon(verbose: bool) -> None:
    """Buy and sell private AI inference, peer to peer."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    lifeline.hold()
    try:
        cocoon.main(arguments, prog_name="cocoon", standalone_mode=False)
    except click.exceptions.Exit as exc:
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except click.Abort:
        sys.exit(130)
    except BaseException as exc:
        failures = leaves(exc)
        if all(isinstance(failure, KeyboardInterrupt) for failure in failures):
            sys.exit(130)
        failure = failures[0]
        if len(failures) > 1 or not isinstance(failure, errors.CocoonError) or "--verbose" in sys.argv:
            raise
        from cocoon_p2p.cli.spell import harmless

        # Both may quote a peer.
        click.echo(harmless(f"cocoon: {failure}"), err=True)
        if failure.hint:
            click.echo(harmless(f"  {failure.hint}"), err=True)
        sys.exit(exit_code(failure))


def exit_code(failure: errors.CocoonError) -> int:
    """Give the exit code that stands for a failure."""
    return next((code for kind, code in _EXIT_CODES if isinstance(failure, kind)), 1)


def leaves(exc: BaseException) -> list[BaseException]:
    """Take the single errors out of what a task tree raised, however deep its groups are."""
    if not isinstance(exc, BaseExceptionGroup):
        return [exc]
    group = cast("BaseExceptionGroup[BaseException]", exc)
    return [leaf for inner in group.exceptions for leaf in leaves(inner)]
