"""The ways of writing tool calls that models were trained on, and which one a model knows. Pure.

A model says it by its chat template, which writes earlier calls as the model wrote them.
A way that is not known here is no way: such a model does not advertise tools.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CallForm:
    """One way of writing calls.

    `begin`, then JSON (a call, or a list of calls), then perhaps `end`; or, where a form has
    `arguments_marker`, the tool's name, that marker, and the arguments.
    """

    name: str
    begin: str
    end: str = ""
    arguments_key: str = "arguments"
    arguments_marker: str = ""
    may_begin_bare: bool = False
    "Whether an answer that begins with `{` may be a call, without `begin`."

    is_list: bool = False
    "Whether the model writes a list of calls after `begin`. Both are read; this is how one is forced."

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """Texts that may be control tokens of the model: an engine must not leave them out of the answer."""
        return tuple(text for text in (self.begin, self.end, self.arguments_marker) if text)


HERMES: Final = CallForm("hermes", "<tool_call>", "</tool_call>")
"""Hermes, Qwen 2.5 and 3, Granite 4 and others: `<tool_call>{"name": "f", "arguments": {}}</tool_call>`."""

MISTRAL: Final = CallForm("mistral", "[TOOL_CALLS]", is_list=True)
'Mistral up to 2024: `[TOOL_CALLS] [{"name": "f", "arguments": {}}]`.'

MISTRAL_NAMED: Final = CallForm("mistral-named", "[TOOL_CALLS]", arguments_marker="[ARGS]")
"Mistral since 2025: `[TOOL_CALLS]f[ARGS]{}`."

GRANITE: Final = CallForm("granite", "<|tool_call|>", "<|/tool_call|>", is_list=True)
'Granite 3 and Phi-4-mini: `<|tool_call|>[{"name": "f", "arguments": {}}]`, the latter with an end.'

LLAMA: Final = CallForm("llama", "<|python_tag|>", arguments_key="parameters", may_begin_bare=True)
'Llama 3.1 to 3.3: the whole answer is `{"name": "f", "parameters": {}}`.'

_LLAMA_ASKS = '"parameters": dictionary of argument name and its value'
_NOT_JSON = ("<function=", "<arg_key>", "<parameter=")
"Qwen3-Coder, GLM 4.5 and others write what is no JSON between Hermes' marks."


def form_of(template: str) -> CallForm | None:
    """Tell a model's way of writing calls by the source of its chat template; None if it is not known.

    A template that never asks for `tools` is of a model that was not trained to call any.
    """
    if "tools" not in template:
        return None
    if "[TOOL_CALLS]" in template:
        return MISTRAL_NAMED if "[ARGS]" in template else MISTRAL
    if "<tool_call>" in template and not any(mark in template for mark in _NOT_JSON):
        return HERMES
    if "<|tool_call|>" in template:
        return GRANITE
    return LLAMA if _LLAMA_ASKS in template else None
