"""A scripted server that can do all that is probed for, in vLLM's words, and one by one cannot."""

import json
from collections.abc import Mapping
from itertools import count
from typing import Any

from tests.inference.upstream.scene import DONE, Script, chat_text, say

CALL = {"name": "zq_look", "arguments": '{"zq": 7}'}


class Able:
    """Answers as a server would that heeds every wish but those it is `deaf` to."""

    def __init__(
        self, *, deaf: frozenset[str] = frozenset(), picture_tokens: int | None = 7, rolls: bool = False
    ) -> None:
        self._deaf = deaf
        self._rolls = rolls
        "Whether it rolls dice, whatever it is told."

        self._picture_tokens = picture_tokens
        self._dice = count()
        self.understands = dict[str, str]()
        "Other words for a wish."

        self.script = Script(events=self.events, context_tokens=10_000, takes_chats=True)

    def events(self, asked: Mapping[str, Any]) -> list[bytes]:
        """Compute an answer."""
        heard = {wish: value for wish, value in asked.items() if wish not in self._deaf}
        for said, meant in self.understands.items():
            if said in asked:
                heard[meant] = {said.removeprefix("guided_"): asked[said]}
        prompt = self._prompt_tokens(heard)
        if heard.get("tool_choice") == "required":
            return self._call(prompt)
        texts, finish = self._texts(heard, prompt)
        texts = texts[: asked["max_tokens"]]
        steps = [
            self._step(heard, text, at, prompt, is_chat="messages" in asked)
            for at, text in enumerate(texts, start=1)
        ]
        end: dict[str, object] = {"choices": [{"text": "", "finish_reason": finish}]}
        return [*steps, say({**end, "usage": _usage(prompt, len(texts))}), DONE]

    def _texts(self, heard: Mapping[str, Any], prompt: int) -> tuple[list[str], str]:
        most = heard["max_tokens"]
        form = heard.get("structured_outputs")
        if form is not None:
            return ['{"zq": 7}' if "json" in form else "zq7!"], "stop"
        if heard.get("logit_bias"):
            return ["7"] * most, "length"
        if self._rolls:
            return [f" d{next(self._dice)}"] * most, "length"
        if heard.get("temperature"):
            dice = heard.get("seed", next(self._dice))
            return [f" d{dice}"] * most, "length"
        penalty = heard.get("frequency_penalty") or heard.get("presence_penalty")
        if heard.get("prompt") == [5] and not heard.get("ignore_eos"):
            return [" bye"], "stop"
        return [f" {word}" for word in (["other"] if penalty else ["same"]) * most], "length"

    def _prompt_tokens(self, heard: Mapping[str, Any]) -> int:
        if "prompt" in heard:
            return len(heard["prompt"])
        pictures = [
            part["image_url"]["url"]
            for message in heard["messages"]
            if not isinstance(message["content"], str)
            for part in message["content"]
            if part["type"] == "image_url"
        ]
        each = [self._picture_tokens or len(picture) for picture in pictures]
        return len(self.script.split(chat_text(heard))) + sum(each)

    def _call(self, prompt: int) -> list[bytes]:
        head, rest = CALL["arguments"][:3], CALL["arguments"][3:]
        deltas: list[dict[str, object]] = [
            {
                "index": 0,
                "id": "call-abc",
                "type": "function",
                "function": {"name": CALL["name"], "arguments": ""},
            },
            {"index": 0, "function": {"arguments": head}},
            {"index": 0, "function": {"arguments": rest}},
        ]
        steps = [
            say({"choices": [{"delta": {"tool_calls": [delta]}}], "usage": _usage(prompt, at)})
            for at, delta in enumerate(deltas, start=1)
        ]
        end = {"choices": [{"delta": {}, "finish_reason": "tool_calls"}], "usage": _usage(prompt, 4)}
        return [*steps, say(end), DONE]

    def _step(self, heard: Mapping[str, Any], text: str, at: int, prompt: int, *, is_chat: bool) -> bytes:
        choice: dict[str, object] = {"delta": {"content": text}} if is_chat else {"text": text}
        if heard.get("logprobs"):
            choice["logprobs"] = {
                "tokens": [text], "token_logprobs": [-0.5], "top_logprobs": [{text: -0.5, " x": -2.0}]
            }  # fmt: skip
        return say({"choices": [choice], "usage": _usage(prompt, at)})


def _usage(prompt: int, completion: int) -> Mapping[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def dumps(value: object) -> bytes:
    """Write JSON."""
    return json.dumps(value).encode()
