"""Chat templates rendered in a process of their own: a model's file is a program from a stranger.

Jinja's sandbox keeps a template from reaching Python, but not from computing for ever or filling the
memory, be it while it is compiled (Jinja folds constants: `9 ** 9 ** 9`) or on some chat only. So this
process has little memory and little time, knows no secrets, and is killed where it takes too long.

The dialect is that of Hugging Face's `apply_chat_template`: trimmed blocks, loop controls,
`{% generation %}`, `tojson`, `raise_exception` and `strftime_now`.

It is run as a file, with a socket as its standard input, and imports nothing of ours. Messages both ways:
four bytes of length, high one first, then JSON. The first is the template's source, answered by `{}`
or an error; each further one the names to render it with, answered by the text or an error.
"""

import json
import resource
import socket
import sys
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, TemplateSyntaxError, nodes
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_MAX_BYTES = 512 * 1024 * 1024
"Of the whole process; a render of a long chat takes some megabytes beyond Python's own thirty."

CPU_SECONDS = 20
"For one message: where the parent died meanwhile, nobody else would end it."

REASON_MAX = 500


class Refused(Exception):
    """The template says that it does not take the messages."""


class GenerationTag(Extension):
    """`{% generation %}...{% endgeneration %}` marks an answer for training; here it is only a scope."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own declaration)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def compile_template(source: str) -> Template:
    """Compile a template in the dialect."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[LoopControlExtension, GenerationTag]
    )
    environment.filters["tojson"] = _to_json
    return environment.from_string(source, globals={"raise_exception": _refuse, "strftime_now": _now})


def _refuse(reason: str) -> NoReturn:
    raise Refused(str(reason)[:REASON_MAX])


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes for HTML, which no model was trained on."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _answer_source(source: str) -> tuple[Template | None, dict[str, object]]:
    try:
        return compile_template(source), {}
    except TemplateSyntaxError as exc:
        return None, {"syntax": exc.message or "", "line": exc.lineno}
    except Exception as exc:  # noqa: BLE001 (whatever a stranger's program raises, the parent says it)
        return None, {"error": type(exc).__name__}


def _answer_names(template: Template, names: dict[str, Any]) -> dict[str, object]:
    try:
        return {"text": template.render(**names)}
    except Refused as exc:
        return {"refused": str(exc)}
    except Exception as exc:  # noqa: BLE001 (as above)
        # The error's own text may quote the messages, which nobody else may read.
        return {"error": type(exc).__name__}


def _receive(line: socket.socket) -> Any:
    with line.makefile("rb", buffering=0) as stream:
        head = stream.read(4)
        if not head:
            sys.exit(0)
        size, body = int.from_bytes(head, "big"), bytearray()
        while len(body) < size:
            some = stream.read(size - len(body))
            if not some:
                sys.exit(0)
            body += some
    return json.loads(body)


def _send(line: socket.socket, message: dict[str, object]) -> None:
    body = json.dumps(message).encode()
    line.sendall(len(body).to_bytes(4, "big") + body)


def _allow_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    seconds = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds if hard < 0 else min(seconds, hard), hard))


def main() -> None:
    """Serve one parent until it hangs up."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line = socket.socket(fileno=0)
    _allow_time()
    template, answer = _answer_source(_receive(line))
    _send(line, answer)
    while template is not None:
        names = _receive(line)
        _allow_time()
        _send(line, _answer_names(template, names))


if __name__ == "__main__":
    main()
