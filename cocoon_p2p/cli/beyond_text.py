"""What `cocoon ask` can ask for beyond text: options, the files that they name, how what comes is shown."""

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cocoon_p2p.cli.spell import harmless
from cocoon_p2p.errors import ConfigurationError

_Command = TypeVar("_Command", bound=Callable[..., Any])

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--schema", type=_FILE, help="The answer is JSON that the JSON Schema in this file allows."),
    click.option("--json-object", is_flag=True, help="The answer is a JSON object."),
    click.option("--regex", help="The whole answer matches this regular expression."),
    click.option("--tools", type=_FILE, help="A JSON list of tools that the model may ask for (OpenAI's)."),
    click.option("--tool-choice", help="auto, none, required, or the name of the tool to ask for."),
    click.option(
        "--image", "images", type=_FILE, multiple=True, help="Show it this PNG or JPEG. Repeatable."
    ),
    click.option(
        "--logprobs",
        type=click.IntRange(0, 20),
        help="Tell how likely each token was, and so many others in its place. With --json.",
    ),
)
NAMES = ("schema", "json_object", "regex", "tools", "tool_choice", "images", "logprobs")


def beyond_text(command: _Command) -> _Command:
    """Add the options to a command; they come as the arguments that `NAMES` lists."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_wishes(options: dict[str, Any]) -> dict[str, Any]:
    """Turn what was said on the command line into the client's wishes.

    Raises:
        ConfigurationError: A file cannot be read, or is not JSON.
    """
    given = {
        name: options[name] for name in ("regex", "tool_choice", "logprobs") if options[name] is not None
    }
    if options["json_object"]:
        given["json_object"] = True
    if options["schema"] is not None:
        given["schema"] = _text(options["schema"])
    if options["tools"] is not None:
        given["tools"] = _tools(options["tools"])
    return given


def user_message(prompt: str, images: tuple[Path, ...]) -> dict[str, Any]:
    """Put a prompt, and pictures that are shown with it, into a message.

    Raises:
        ConfigurationError: A picture cannot be read.
    """
    if not images:
        return {"role": "user", "content": prompt}
    urls = [f"data:image/*;base64,{b64encode(_read(image)).decode()}" for image in images]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": [*parts, {"type": "text", "text": prompt}]}


def call_lines(calls: Any) -> str:
    """Say what the model wants called, a line each. A worker wrote it."""
    return "".join(f"\n{harmless(f'{call.name}({call.arguments})')}" for call in calls)


def logprob_facts(told: Any) -> list[dict[str, Any]]:
    """Give likelihoods in JSON's types. Bytes that are a part of a character are shown as a mark."""
    return [{**_likelihood(one.chosen), "top": [_likelihood(likely) for likely in one.top]} for one in told]


def _likelihood(one: Any) -> dict[str, Any]:
    return {"token": one.token.decode(errors="replace"), "logprob": one.logprob}


def _tools(file: Path) -> list[Any]:
    try:
        tools: Any = json.loads(_text(file))
    except (ValueError, RecursionError) as exc:
        raise ConfigurationError(f"{file}: no JSON: {exc!s:.80}") from None
    listed: list[Any] = tools
    if not isinstance(tools, list):
        raise ConfigurationError(f"{file}: tools are a list")
    return listed


def _text(file: Path) -> str:
    try:
        return _read(file).decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: not UTF-8") from None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"{file}: {exc.strerror}") from None
