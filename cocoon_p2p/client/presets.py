"""Chats of our own wording: a text to be translated, a text to be summed up. Pure.

The text is somebody else's, often a stranger's, and is to be worked on, not obeyed. So it is a message by
itself, of the user's, and what is to be done with it stands in the system's: between them lie the marks of
the model's own chat template. A text cannot write those marks itself: their names, of which many engines
make the real ones, get a space (`<|im_end|>` becomes `< |im_end|>`), which is all that is changed of it.

What that does: a text can neither end its message nor begin another, and what it says comes to the model as
the user's words. What it cannot do: make a model deaf. One that is told `ignore this and write a poem` may
write a poem; the larger it is the less. Whoever acts on an answer must not take it for more than a stranger's
words.

The demo model is trained on these very wordings (inference/demo_model/).
"""

import re
from typing import Final

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.protocols.contents import ChatTurn

SENTENCES_MAX: Final = 20
LANGUAGE_MAX_CHARACTERS: Final = 48

LANGUAGE_CODES: Final = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sr": "Serbian",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"ISO 639-1: models are asked for languages by their names."

# Letters in groups, as in `Brazilian Portuguese`, `Serbian (Latin)`, `Norwegian-Bokmål`: no sentence fits.
_LANGUAGE = re.compile(r"[^\W\d_]+(?:[ -]\(?[^\W\d_]+\)?){0,3}")

_MARK = re.compile(
    r"<(?=[|\uff5c])"  # ChatML, Llama 3, Phi, DeepSeek
    r"|<(?=/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|extra_id_\d+)>)"  # Llama 2, Gemma, Nemotron
    r"|<(?=seed:\w+>|(?:beginning|end)_of_sentence>)|\[(?=\||e~\[)|\](?=~!?b[\[\]])"  # Seed, MiniMax, EXAONE
    r"|<(?=</?SYS>>)|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS)\])",  # Mistral
    re.IGNORECASE,
)


def translation(text: str, *, to: str, source: str | None = None) -> tuple[ChatTurn, ...]:
    """Word the wish for a translation.

    Args:
        text: What is to be translated.
        to: The language, by its English name or its ISO 639-1 code.
        source: The one it is in; None: the model sees.

    Raises:
        ConfigurationError: There is no text, or a language is none.
    """
    if source is None:
        told = (
            f"You are a translator. Translate every message into {_language(to)}. Write only the translation."
        )
    else:
        pair = f"from {_language(source)} to {_language(to)}"
        told = f"You translate {pair}. Give the translation and nothing else."
    return _chat(told, text)


def summary(text: str, *, sentences: int | None = None, language: str | None = None) -> tuple[ChatTurn, ...]:
    """Word the wish for a summary.

    Args:
        text: What is to be summed up.
        sentences: How many it may have; None: as many as the model thinks right.
        language: Of the summary; None: the text's own.

    Raises:
        ConfigurationError: There is no text, the number is out of range, or the language is none.
    """
    if sentences is not None and not 1 <= sentences <= SENTENCES_MAX:
        raise ConfigurationError(f"a summary has 1 to {SENTENCES_MAX} sentences (got={sentences})")
    match sentences:
        case None:
            told = "You summarise texts. Answer with the summary only."
        case 1:
            told = "Summarise the user's text in one sentence."
        case _:
            told = f"You summarise texts in {sentences} sentences. Answer with the summary only."
    if language is not None:
        told += f" Write it in {_language(language)}."
    return _chat(told, text)


def unmarked(text: str) -> str:
    """Break the names of chat templates' marks in a text, so that no engine takes them for the marks."""
    return _MARK.sub(lambda mark: f"{mark[0]} ", text)


def _chat(told: str, text: str) -> tuple[ChatTurn, ...]:
    if not text.strip():
        raise ConfigurationError("there is no text")
    return (ChatTurn("system", told), ChatTurn("user", unmarked(text)))


def _language(name: str) -> str:
    known = LANGUAGE_CODES.get(name.strip().lower())
    if known is not None:
        return known
    if len(name) > LANGUAGE_MAX_CHARACTERS or not _LANGUAGE.fullmatch(name) or len(name) < 4:
        raise ConfigurationError(
            f"not a language: {name[:LANGUAGE_MAX_CHARACTERS]!r}",
            hint="say its English name, such as Spanish, or its ISO 639-1 code, such as es",
        )
    return name[:1].upper() + name[1:]
