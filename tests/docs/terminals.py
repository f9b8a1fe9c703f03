"""Terminals as a reader has them: a shell each, in which a command may run on while another one is used."""

import codecs
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.docs.pages import INTERRUPT, VARIES, Command, Sighting, pattern

PATIENCE_SECONDS = 300.0
"How long what is shown may take to be printed. A bound for what hangs; none waits for it."

END_SECONDS = 30.0

# Commands come with a NUL behind each, and so do their exit codes: neither has one within. The shell stays
# when Ctrl-C ends its command, and its commands have no standard input.
_SHELL = r"""
trap : INT
code=0
while IFS= read -r -d '' command; do
    (exit $code)
    eval "$command" </dev/null
    code=$?
    printf '\0%d\0' $code
done
"""


class Unlike(AssertionError):
    """What was printed is not what the page shows."""


class Terminal:
    """One shell, and all that was printed in it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-c", _SHELL],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C goes to all that runs in a terminal, and to nothing else.
            start_new_session=True,
        )
        self._heard = threading.Condition()
        self._printed, self._is_over = "", False
        self._is_running = False
        self.code = 0
        "The exit code of the last command that ended."

        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def do(self, command: Command, known: Mapping[str, str]) -> dict[str, str]:
        """Carry a command out, and wait until what the page shows of it is printed.

        Args:
            command: In a terminal with a title the last one of a block may run on.
            known: The words with `…` that were shown before, and what stood there.

        Returns:
            The same of this command.

        Raises:
            Unlike: It printed something else, or did not end.
        """
        if command.text == INTERRUPT:
            os.killpg(self._shell.pid, signal.SIGINT)
        elif command.text:
            if self._is_running:
                self._wait_for_end(Command(command.terminal, "(before)", (VARIES,), is_last=False))
            self._send(filled(command.text, known))
        if command.terminal and command.is_last and command.text != INTERRUPT:
            return self._wait_for_shown(command)
        return self._wait_for_end(command)

    def working_folder(self) -> Path:
        """Say where the shell is."""
        return Path(f"/proc/{self._shell.pid}/cwd").readlink()

    def end(self) -> None:
        """End all that runs in it, as a reader does: by Ctrl-C."""
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._shell.pid, number)
            # Over when nobody is left who could print.
            self._listener.join(END_SECONDS)
            if not self._listener.is_alive():
                break
        self._shell.wait(END_SECONDS)

    def _send(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._is_running = True
        self._shell.stdin.write(text.encode() + b"\0")
        self._shell.stdin.flush()

    def _listen(self) -> None:
        assert self._shell.stdout is not None
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        while data := os.read(self._shell.stdout.fileno(), 65536):
            with self._heard:
                self._printed += decode(data)
                self._heard.notify_all()
        self._shell.stdout.close()
        with self._heard:
            self._is_over = True
            self._heard.notify_all()

    def _wait_for_shown(self, command: Command) -> dict[str, str]:
        sighting = Sighting(command.shown)
        with self._heard:
            self._heard.wait_for(
                lambda: sighting.look(self._printed) or "\0" in self._printed or self._is_over,
                PATIENCE_SECONDS,
            )
            sighting.look(self._printed)
            if sighting.missing or sighting.others:
                what = f"and never {sighting.missing}, but {sighting.others}"
                raise _unlike(command, self._printed, what)
            self._printed = self._printed[sighting.end :]
        return sighting.known

    def _wait_for_end(self, command: Command) -> dict[str, str]:
        with self._heard:
            self._heard.wait_for(lambda: self._printed.count("\0") >= 2 or self._is_over, PATIENCE_SECONDS)
            if self._printed.count("\0") < 2:
                raise _unlike(command, self._printed, "and it did not end")
            printed, code, self._printed = self._printed.split("\0", 2)
        self._is_running, self.code = False, int(code)
        wanted = pattern(command.shown, is_whole=True)
        found = wanted.expression.match(printed if printed.endswith("\n") or not printed else printed + "\n")
        if found is None:
            raise _unlike(command, printed, f"and ended with {code}")
        return dict(zip(wanted.words, found.groups(), strict=True))


def filled(text: str, known: Mapping[str, str]) -> str:
    """Put what was printed for the words that a page writes with `…`.

    Raises:
        Unlike: There is a word that the page has not shown before.
    """
    # The longest first: `0Q…1` is not what stood at `0Q…`.
    for word in sorted(known, key=len, reverse=True):
        text = text.replace(word, known[word])
    if VARIES in text:
        raise Unlike(f"the page has not shown what stands for {VARIES} in: {text}")
    return text


def _unlike(command: Command, printed: str, end: str = "") -> Unlike:
    shown, printed = "\n".join(command.shown), printed.replace("\0", "\n(and ended) ")
    return Unlike(f"$ {command.text}\n--- the page shows\n{shown}\n--- it printed\n{printed}\n--- {end}")
