"""How text becomes a model's tokens: by Hugging Face's `tokenizers`, from the model's own tokenizer.json.

ExLlamaV2 has a tokenizer too, on the same library. It is not used here: told to take names of control
tokens for plain text it takes them for control tokens all the same, and a model's own words, given back
to it after a failover, could end its answer or open another's turn.
"""

import importlib
from enum import Enum, auto
from typing import Any

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import RequestMalformed
from cocoon_p2p.inference.exllama.model_folder import ModelFolder


class Kind(Enum):
    """What a text is."""

    CHAT = auto()
    "Rendered by a template, which writes all control tokens itself."

    PROMPT = auto()
    "Bare: the begin token comes before it, where the model wants one."

    PLAIN = auto()
    "Written by a model: names of control tokens are words."


class Splitter:
    """Splits text. Any thread. Blocks.

    Raises:
        ConfigurationError: The library is missing, or the model's tokenizer.json is none.
    """

    def __init__(self, folder: ModelFolder) -> None:
        self._marked = _tokenizer(folder)
        self._plain = _tokenizer(folder)
        # To the library, this means: as if they were not special.
        self._plain.encode_special_tokens = True

    def vocabulary(self) -> dict[str, int]:
        """Give every token's text and number, control tokens too."""
        tokens: dict[str, int] = self._marked.get_vocab(with_added_tokens=True)
        return tokens

    def split(self, text: str, kind: Kind) -> list[int]:
        """Split text into tokens.

        Raises:
            RequestMalformed: It is no text: it has surrogates without their other half.
        """
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RequestMalformed("the prompt holds half of a character (a lone surrogate)") from None
        tokenizer = self._plain if kind is Kind.PLAIN else self._marked
        ids: list[int] = tokenizer.encode(text, add_special_tokens=kind is Kind.PROMPT).ids
        return ids


def _tokenizer(folder: ModelFolder) -> Any:  # tokenizers is found only where ExLlamaV2 is.
    try:
        library = importlib.import_module("tokenizers")
    except ImportError as exc:
        raise ConfigurationError(
            f"ExLlamaV2 cannot be used: {exc}", hint="install it with: pip install 'cocoon-p2p[exllama]'"
        ) from exc
    file = folder.path / "tokenizer.json"
    try:
        return library.Tokenizer.from_file(str(file))
    # It raises nothing narrower.
    except Exception as exc:
        raise ConfigurationError(
            f"{file} is no tokenizer: {exc}", hint="download it again from the model's publisher"
        ) from exc
