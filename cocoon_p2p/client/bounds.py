"""How many tokens a prompt can have at most, reckoned without its tokenizer.

A worker that counts more is broken, or its model's template says more than any known one: then
it refuses, and nothing is charged. A token of text stands for one byte of UTF-8 at least, so
bytes bound tokens; markup, pictures and sound have bounds of their own.
"""

import math
import struct

from cocoon_p2p.protocols.contents import ChatTurn, RequestContent
from cocoon_p2p.protocols.wishes import Tool, ToolCall

TURN_OVERHEAD_TOKENS = 24
"""What a chat template may add around one message beside its role. `<|im_start|>`, `<|im_end|>` and
two line ends are 24 bytes, so even a tokenizer that does not know them as tokens keeps within it."""

PROMPT_OVERHEAD_TOKENS = 128
"""What may stand around a prompt: a beginning-of-text token, a template's own standing system prompt
(the longest in wide use have some 70 tokens), the opening of the answer."""

IMAGE_TOKENS_MAX = 4096
"A picture in the model's eyes: LLaVA's has 576, Qwen's as many as it is large, 4,096 where it is capped."

TOOLS_OVERHEAD_TOKENS = 512
"What a template says about calling tools as such; Llama's and Qwen's have some 150 tokens."

TOOL_OVERHEAD_TOKENS = 64
"The JSON around a tool or a call, and the markers around that."

JSON_STRETCH = 2
"Templates print JSON anew, with line ends, spaces and escapes that the text we have may lack."

SPEECH_TOKENS_PER_SECOND = 50
"Positions of Whisper's encoder, by which speech is counted."

SPEECH_BYTES_PER_SECOND_MIN = 750
"6 kbit/s, the least that Opus makes: from a file's size it tells how long the sound can be."

SILENCE_BYTES_PER_SECOND_MIN = 200
"What Opus makes of silence, with its pages: some 260 in the longest packets."

WORDS_TOKENS_PER_SECOND = 8
"What is written down of a second of speech: a Whisper window of 30 s has room for 7.5 a second."

PROMPT_STEPS = (256, 1024)
"""Bounds that are told of short prompts; above them multiples of the last. The exact bound would tell
the proxy a prompt's length to the byte, which the padding under the seal hides."""


def prompt_tokens_bound(content: RequestContent) -> int:
    """Bound a request's prompt, whatever its kind.

    Tokenizers that lengthen a text before they cut it (by Unicode's compatibility forms, say) can
    pass the bound with odd texts; the worker then refuses, and nothing is charged.
    """
    tokens = PROMPT_OVERHEAD_TOKENS + _size(content.prompt or "") + _size(content.answer_prefix)
    tokens += sum(map(_turn_bound, content.messages))
    tokens += sum(_size(text) + TURN_OVERHEAD_TOKENS for text in content.inputs)
    if content.tools:
        tokens += TOOLS_OVERHEAD_TOKENS + sum(map(_tool_bound, content.tools))
    if content.audio is not None:
        tokens += SPEECH_TOKENS_PER_SECOND * speech_seconds_max(content.audio.data)
    return tokens


def told_bound(tokens: int) -> int:
    """Round a prompt's bound up to what a proxy may know of it."""
    largest = PROMPT_STEPS[-1]
    return next((step for step in PROMPT_STEPS if tokens <= step), -(-tokens // largest) * largest)


def speech_seconds_max(data: bytes) -> int:
    """Bound how long a recording is, in begun seconds: closely for WAV and Ogg Opus, else by its size.

    A closer bound leaves a worker less room to count sound that is not there.
    """
    by_size = len(data) / (_wav_bytes_per_second(data) or SPEECH_BYTES_PER_SECOND_MIN)
    return math.ceil(_opus_seconds(data) or by_size)


def _wav_bytes_per_second(data: bytes) -> int | None:
    """Read the rate of uncompressed sound out of its header (RIFF, the `fmt ` chunk), if it is that."""
    if len(data) < 44 or data[:4] != b"RIFF" or data[8:16] != b"WAVEfmt ":
        return None
    form, _, _, rate = struct.unpack_from("<HHII", data, 20)
    # Integers, floats, and either with the long header.
    is_plain = form in (1, 3, 0xFFFE) and rate >= SPEECH_BYTES_PER_SECOND_MIN
    return rate if is_plain else None


def _opus_seconds(data: bytes) -> float | None:
    """Read from its last page where a recording in Ogg Opus ends (RFC 7845, section 4), if it is one."""
    # Two one after the other would each begin at 0.
    if data[:4] != b"OggS" or data[28:36] != b"OpusHead" or data.count(b"OpusHead") > 1:
        return None
    page = data.rfind(b"OggS")
    seconds = int.from_bytes(data[page + 6 : page + 14], "little") / 48_000
    # More than the file can hold: a clock that did not begin at 0, or a page that ends nowhere.
    return seconds if seconds * SILENCE_BYTES_PER_SECOND_MIN <= len(data) else None


def _turn_bound(turn: ChatTurn) -> int:
    tokens = _size(turn.role) + _size(turn.content) + _size(turn.call_id or "") + TURN_OVERHEAD_TOKENS
    tokens += len(turn.images) * (IMAGE_TOKENS_MAX + TURN_OVERHEAD_TOKENS)
    return tokens + sum(map(_call_bound, turn.calls))


def _call_bound(call: ToolCall) -> int:
    return TOOL_OVERHEAD_TOKENS + JSON_STRETCH * (_size(call.id) + _size(call.name) + _size(call.arguments))


def _tool_bound(tool: Tool) -> int:
    size = _size(tool.name) + _size(tool.description) + _size(tool.parameters)
    return TOOL_OVERHEAD_TOKENS + JSON_STRETCH * size


def _size(text: str) -> int:
    return len(text.encode())
