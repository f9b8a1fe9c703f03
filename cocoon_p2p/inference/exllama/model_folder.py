"""A model as a folder of Hugging Face's: what its small files say of it, before the large ones are loaded.

Spec: transformers' config.json, generation_config.json, tokenizer_config.json, chat_template.jinja.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.exllama.shards import read_shards

SMALL_FILE_MAX_BYTES: Final = 64 << 20
"A tokenizer of 256,000 tokens with its merges has some 30 MB."


Read = TypeVar("Read", bound=msgspec.Struct)


ARCHITECTURES: Final = frozenset(
    {
        "Cohere2ForCausalLM", "CohereForCausalLM", "DbrxForCausalLM", "Gemma2ForCausalLM",
        "Gemma3ForConditionalGeneration", "GemmaForCausalLM", "GemmoeForCausalLM", "Glm4ForCausalLM",
        "GPT2LMHeadModel", "GPTBigCodeForCausalLM", "GraniteForCausalLM", "IndexForCausalLM",
        "InternLM2ForCausalLM", "LlamaForCausalLM", "LlavaForConditionalGeneration", "MiniCPMForCausalLM",
        "Mistral3ForConditionalGeneration", "MistralForCausalLM", "MixtralForCausalLM", "OrionForCausalLM",
        "Phi3ForCausalLM", "Qwen2ForCausalLM", "Qwen2VLForConditionalGeneration",
        "Qwen2_5_VLForConditionalGeneration", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM",
        "Starcoder2ForCausalLM", "YiForCausalLM",
    }
)  # fmt: skip
"What ExLlamaV2 0.3.2 knows. Any other it would compute as if it were Llama, and serve what comes of that."

QUANTIZATIONS: Final = frozenset({"none", "exl2", "gptq"})
GPTQ_BITS: Final = 4
"The only ones that the library's kernels unpack."


class Quantization(msgspec.Struct, frozen=True):
    quant_method: str = "none"
    bits: float | None = None


class ModelConfig(msgspec.Struct, frozen=True):
    architectures: list[str]
    vocab_size: int = 0
    max_position_embeddings: int = 0
    eos_token_id: int | list[int] | None = None
    quantization_config: Quantization | None = None


class GenerationConfig(msgspec.Struct, frozen=True):
    eos_token_id: int | list[int] | None = None


class NamedToken(msgspec.Struct, frozen=True):
    content: str


class NamedTemplate(msgspec.Struct, frozen=True):
    name: str
    template: str


class TokenizerConfig(msgspec.Struct, frozen=True):
    bos_token: str | NamedToken | None = None
    eos_token: str | NamedToken | None = None
    chat_template: str | list[NamedTemplate] | None = None


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What a folder says."""

    path: Path
    architecture: str
    quantization: str
    "`exl2`, `gptq`, `none` ..."

    vocabulary_size: int
    "Rows of the model's own table, of which its tokenizer may use fewer; 0 if it does not say."

    trained_tokens: int
    "The longest context it was trained for; 0 if it does not say."

    eos_ids: frozenset[int]
    "Every token that ends an answer: models that chat often have two."

    bos: str
    eos: str
    template: str
    "Jinja, or empty for a model that completes and does not chat."

    tokenizer_hash: bytes
    "SHA-256 over tokenizer and template (inference/engines.md)."


def read_folder(path: Path) -> ModelFolder:
    """Read what is small. Blocks.

    Raises:
        ConfigurationError: A file is missing, or is not what its name says.
    """
    if not path.is_dir():
        raise ConfigurationError(f"there is no folder {path}", hint="check the path of the model")
    config = read_json(path / "config.json", ModelConfig)
    if len(config.architectures) != 1:
        raise ConfigurationError(f"{path / 'config.json'} names {len(config.architectures)} architectures")
    _refuse_unknown(path, config)
    read_shards(path)
    tokenizer = _bytes(path / "tokenizer.json")
    names = _read_if_there(path / "tokenizer_config.json", TokenizerConfig)
    template = _template(path, names)
    quantization = config.quantization_config
    return ModelFolder(
        path=path,
        architecture=config.architectures[0],
        quantization="none" if quantization is None else quantization.quant_method,
        vocabulary_size=config.vocab_size,
        trained_tokens=config.max_position_embeddings,
        eos_ids=_eos_ids(path, config),
        bos=_text(names.bos_token),
        eos=_text(names.eos_token),
        template=template,
        tokenizer_hash=_tokenizer_hash(tokenizer, template),
    )


def _refuse_unknown(path: Path, config: ModelConfig) -> None:
    if not any(path.glob("*.safetensors")):
        gguf = next(path.glob("*.gguf"), None)
        raise ConfigurationError(
            f"there are no .safetensors in {path}",
            hint=f"llama.cpp serves GGUF files: name the file itself, {gguf}"
            if gguf
            else "take a model published as safetensors, or the GGUF file for llama.cpp",
        )
    if config.architectures[0] not in ARCHITECTURES:
        raise ConfigurationError(
            f"exllamav2 knows no models of this kind (architecture={config.architectures[0]} path={path})",
            hint="take the GGUF file for llama.cpp, or serve it by vLLM as an upstream",
        )
    quantization = config.quantization_config or Quantization()
    method = quantization.quant_method.lower()
    if method not in QUANTIZATIONS or (method == "gptq" and quantization.bits != GPTQ_BITS):
        raise ConfigurationError(
            f"exllamav2 cannot compute this quantization "
            f"(quantization={method} bits={quantization.bits} path={path})",
            hint="take EXL2, GPTQ of 4 bits or plain safetensors; or the GGUF file for llama.cpp",
        )


def tokenizer_text(path: Path) -> str:
    """Read a model's tokenizer.json. Blocks. Raises as `read_folder` does."""
    return _bytes(path / "tokenizer.json").decode("utf-8", "replace")


def _eos_ids(path: Path, config: ModelConfig) -> frozenset[int]:
    generation = _read_if_there(path / "generation_config.json", GenerationConfig)
    found = frozenset[int]()
    for ids in (config.eos_token_id, generation.eos_token_id):
        found |= frozenset([ids] if isinstance(ids, int) else ids or ())
    if not found:
        raise ConfigurationError(
            f"the model does not say which token ends an answer (path={path})",
            hint="its config.json or generation_config.json must have eos_token_id",
        )
    return found


def _template(path: Path, names: TokenizerConfig) -> str:
    # Newer models have it in a file of its own, which counts.
    if (path / "chat_template.jinja").is_file():
        return _bytes(path / "chat_template.jinja").decode("utf-8", "replace")
    if isinstance(names.chat_template, list):
        named = {each.name: each.template for each in names.chat_template}
        return named.get("default", "")
    return names.chat_template or ""


def _tokenizer_hash(tokenizer: bytes, template: str) -> bytes:
    parts = hashlib.sha256(tokenizer).digest() + hashlib.sha256(template.encode()).digest()
    return hashlib.sha256(b"cocoon/tokenizer-folder/1\0" + parts).digest()


def _text(token: str | NamedToken | None) -> str:
    return token.content if isinstance(token, NamedToken) else token or ""


def _read_if_there(file: Path, kind: type[Read]) -> Read:
    return read_json(file, kind) if file.is_file() else kind()


def read_json(file: Path, kind: type[Read]) -> Read:
    """Read one of a model's small files. Blocks. Raises as `read_folder` does."""
    try:
        return msgspec.json.decode(_bytes(file), type=kind)
    except msgspec.MsgspecError as exc:
        raise ConfigurationError(
            f"{file} is not what its name says: {exc}", hint="download it again from the model's publisher"
        ) from exc


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > SMALL_FILE_MAX_BYTES:
            raise ConfigurationError(f"{file} is too large (limit={SMALL_FILE_MAX_BYTES} bytes)")
        return file.read_bytes()
    except FileNotFoundError as exc:
        raise ConfigurationError(
            f"the model lacks {file.name} (path={file.parent})", hint="download the whole folder again"
        ) from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror}") from exc
