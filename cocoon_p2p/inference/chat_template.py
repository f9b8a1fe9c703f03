"""A model's own chat template, rendered in a sandbox.

Templates are Jinja programs that come with a model. They run here, and not in the engine,
so that the prompt whose tokens were counted and paid is the one that is computed. The
dialect is that of Hugging Face's `apply_chat_template`: trimmed blocks, loop controls,
`raise_exception` and `strftime_now`. What a template may not do is reach Python.
"""

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import ChatMessage, FeatureMissing, RequestMalformed

if TYPE_CHECKING:
    from jinja2 import Template


class ChatTemplate:
    """Renders messages into one prompt. Pure apart from templates that ask for the date.

    Args:
        source: The Jinja source, or empty for a model that has none.
        bos, eos: What the template may write as `bos_token` and `eos_token`.

    Raises:
        ConfigurationError: The source is no template, or Jinja is not installed.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        self._template = _compile(source) if source else None
        self._names = {"bos_token": bos, "eos_token": eos}

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """Write the chat up to the point where the model's answer begins.

        Raises:
            FeatureMissing: The model has no template: it completes text, it does not chat.
            RequestMalformed: The template does not take these messages; the text says why.
        """
        if self._template is None:
            raise FeatureMissing(
                "the model has no chat template",
                hint="ask for a completion of a bare prompt, or for another model",
            )
        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return self._template.render(
                messages=plain, add_generation_prompt=True, tools=None, **self._names
            )
        except RequestMalformed:
            raise
        except Exception as exc:
            # The error's own text may quote the messages, which nobody else may read.
            raise RequestMalformed(
                f"the model's chat template fails on these messages (error={type(exc).__name__})"
            ) from exc


def _compile(source: str) -> "Template":
    try:
        from jinja2 import TemplateSyntaxError
        from jinja2.ext import LoopControlExtension
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as exc:
        raise ConfigurationError(
            f"chat templates need Jinja: {exc}", hint="install it with: pip install 'cocoon-p2p[cpu]'"
        ) from exc
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[LoopControlExtension]
    )
    environment.filters["tojson"] = _to_json
    try:
        return environment.from_string(
            source, globals={"raise_exception": _refuse, "strftime_now": time.strftime}
        )
    except TemplateSyntaxError as exc:
        raise ConfigurationError(
            f"the model's chat template is no Jinja: {exc.message} (line={exc.lineno})",
            hint="the model's publisher may have a newer file; another conversion may work too",
        ) from exc


def _refuse(reason: str) -> NoReturn:
    """Stop where a template says that it does not take the messages."""
    raise RequestMalformed(f"the model's chat template refuses these messages: {reason}")


def _to_json(value: object, indent: int | None = None, ensure_ascii: bool = False) -> str:
    """Jinja's own filter escapes for HTML, which no model was trained on."""
    return json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)
