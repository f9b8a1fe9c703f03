"""A model's own chat template, rendered within bounds.

Templates are Jinja programs that come with a model. They run on our side, and not in the engine,
so that the prompt whose tokens were counted and paid is the one that is computed; and in a child
process (`jinja_child`), so that a hostile one costs its own model a refusal and nobody else anything.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import ChatMessage, FeatureMissing, RequestMalformed
from cocoon_p2p.inference.tools.writing import written, written_tools
from cocoon_p2p.inference.wishes import Tool

SOURCE_SIZE_MAX: Final = 1 << 20
"Of a template, in characters. The longest published have some 50,000."

RENDER_SECONDS: Final = 10.0
"A long chat takes some milliseconds, on a machine that is busy perhaps a hundred times that."

START_SECONDS: Final = 30.0
"For the child to begin and to read the template: a tenth of a second where nothing is wrong."

TEXT_SIZE_MAX_BYTES: Final = 64 << 20

_CHILD: Final = Path(__file__).with_name("jinja_child.py")
_ENVIRONMENT: Final = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "TZ", "LANG", "LC_ALL", "LC_TIME")
"What a template's process is told of ours: how to find Jinja, and what time it is."


class ChatTemplate:
    """Renders messages into one prompt. All methods block, and may be called from any thread.

    Args:
        source: The Jinja source, or empty for a model that has none.
        bos, eos: What the template may write as `bos_token` and `eos_token`.

    Raises:
        ConfigurationError: The source is no template, is out of bounds, or Jinja is not installed.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        self._names = {"bos_token": bos, "eos_token": eos}
        self._source = source
        self._lock = threading.Lock()
        self._child: _Child | None = None
        if not source:
            return
        if len(source) > SOURCE_SIZE_MAX:
            raise ConfigurationError(
                f"the model's chat template is too long "
                f"(size={len(source)} max={SOURCE_SIZE_MAX} characters)",
                hint="the model's publisher may have a newer file",
            )
        if importlib.util.find_spec("jinja2") is None:
            raise ConfigurationError(
                "chat templates need Jinja", hint="install it with: pip install 'cocoon-p2p[cpu]'"
            )
        self._child = _Child(source)

    def render(self, messages: Sequence[ChatMessage], tools: Sequence[Tool] = ()) -> str:
        """Write the chat, and what tools are offered in it, up to where the model's answer begins.

        Raises:
            FeatureMissing: The model has no template: it completes text, it does not chat.
            RequestMalformed: The template does not take these messages, or takes too long, or a tool is
                described in what is no JSON; the text says why.
        """
        if not self._source:
            raise FeatureMissing(
                "the model has no chat template",
                hint="ask for a completion of a bare prompt, or for another model",
            )
        answer = self._ask(
            {
                "messages": written(messages),
                "tools": written_tools(tools),
                "documents": None,
                "add_generation_prompt": True,
                **self._names,
            }
        )
        if (text := answer.get("text")) is not None:
            return str(text)
        if (reason := answer.get("refused")) is not None:
            raise RequestMalformed(f"the model's chat template refuses these messages: {reason}")
        raise RequestMalformed(
            f"the model's chat template fails on these messages (error={answer.get('error')})"
        )

    def _ask(self, names: dict[str, object]) -> dict[str, Any]:
        with self._lock:
            try:
                self._child = self._child or _Child(self._source)
                return self._child.ask(names, RENDER_SECONDS)
            except (OSError, ConfigurationError) as exc:
                # It was killed for what it did, or is about to be; the next chat gets another.
                if self._child is not None:
                    self._child.close()
                self._child = None
                raise RequestMalformed(
                    "the model's chat template takes too long or too much memory "
                    f"(limit={RENDER_SECONDS:g} s)"
                ) from exc


class _Child:
    """A process that renders one template. Not for two threads at a time.

    It ends with this object, and with this process, however that ends.
    """

    def __init__(self, source: str) -> None:
        ours, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        try:
            # -P: what lies in the current folder is not a library.
            process = subprocess.Popen(
                [sys.executable, "-P", str(_CHILD)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except OSError as exc:
            ours.close()
            raise ConfigurationError(f"no process for the model's chat template: {exc.strerror}") from exc
        finally:
            theirs.close()
        self._line = ours
        self.close = weakref.finalize(self, _end, process, ours)
        try:
            answer = self.ask(source, START_SECONDS)
        except OSError as exc:
            self.close()
            raise ConfigurationError(
                "the model's chat template takes too long or too much memory to read",
                hint="do not serve this file; the model's publisher may have a newer one",
            ) from exc
        if answer:
            self.close()
            raise _no_template(answer)

    def ask(self, message: object, limit_seconds: float) -> dict[str, Any]:
        """Send one message and take the answer.

        Raises:
            OSError: It took too long, or the process ended.
        """
        deadline = time.monotonic() + limit_seconds
        body = json.dumps(message).encode()
        self._line.settimeout(limit_seconds)
        self._line.sendall(len(body).to_bytes(4, "big") + body)
        size = int.from_bytes(self._receive(4, deadline), "big")
        if size > TEXT_SIZE_MAX_BYTES:
            raise OSError("too large")
        try:
            answer: object = json.loads(self._receive(size, deadline))
        except (ValueError, RecursionError) as exc:
            raise OSError("not JSON") from exc
        if not isinstance(answer, dict):
            raise OSError("not an answer")
        return cast("dict[str, Any]", answer)

    def _receive(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            # A timeout of zero would mean: do not wait at all, and say so by another error.
            self._line.settimeout(max(deadline - time.monotonic(), 1e-3))
            some = self._line.recv(min(size - len(data), 1 << 20))
            if not some:
                raise OSError("the process ended")
            data += some
        return bytes(data)


def _end(process: "subprocess.Popen[bytes]", line: socket.socket) -> None:
    line.close()
    process.kill()
    process.wait()


def _no_template(answer: dict[str, Any]) -> ConfigurationError:
    hint = "the model's publisher may have a newer file; another conversion may work too"
    if "syntax" in answer:
        return ConfigurationError(
            f"the model's chat template is no Jinja: {answer['syntax']} (line={answer['line']})", hint=hint
        )
    return ConfigurationError(f"the model's chat template cannot be read ({answer.get('error')})", hint=hint)
