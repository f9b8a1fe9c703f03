"""What a model's small files say, and what is said of those that are wrong."""

import json
import sys
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.exllama.loading import library_version
from cocoon_p2p.inference.exllama.model_folder import read_folder
from tests.inference.exllama.shard_files import write_shard

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 8192,
    "eos_token_id": 2,
    "unknown to us": {"deeply": ["nested"]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "config.json", CONFIG)
    write(tmp_path, "tokenizer.json", {"model": {}})
    write_shard(tmp_path / "model.safetensors")
    return tmp_path


def write(folder: Path, name: str, value: object) -> None:
    (folder / name).write_text(json.dumps(value))


def test_a_folder_of_what_must_be_there_is_enough(folder: Path) -> None:
    found = read_folder(folder)

    assert (found.architecture, found.quantization) == ("LlamaForCausalLM", "none")
    assert (found.trained_tokens, found.eos_ids) == (8192, {2})
    assert (found.bos, found.eos, found.template) == ("", "", "")


def test_every_token_that_ends_an_answer_is_found(folder: Path) -> None:
    write(folder, "generation_config.json", {"eos_token_id": [2, 7, 9]})

    assert read_folder(folder).eos_ids == {2, 7, 9}


def test_names_of_tokens_may_be_objects(folder: Path) -> None:
    named = {"bos_token": {"content": "<s>", "lstrip": False}, "eos_token": "</s>", "chat_template": "hi"}
    write(folder, "tokenizer_config.json", named)
    found = read_folder(folder)

    assert (found.bos, found.eos, found.template) == ("<s>", "</s>", "hi")


def test_of_several_templates_the_default_is_taken(folder: Path) -> None:
    templates = [{"name": "tools", "template": "a"}, {"name": "default", "template": "b"}]
    write(folder, "tokenizer_config.json", {"chat_template": templates})

    assert read_folder(folder).template == "b"


def test_a_template_in_a_file_of_its_own_counts(folder: Path) -> None:
    write(folder, "tokenizer_config.json", {"chat_template": "old"})
    (folder / "chat_template.jinja").write_text("new")

    assert read_folder(folder).template == "new"


def test_the_quantization_is_said(folder: Path) -> None:
    write(folder, "config.json", {**CONFIG, "quantization_config": {"quant_method": "exl2", "bits": 4.0}})

    assert read_folder(folder).quantization == "exl2"


@pytest.mark.parametrize(
    "quantization",
    [{"quant_method": name} for name in ("exl3", "awq", "fp8", "compressed-tensors", "bitsandbytes")]
    + [{"quant_method": "gptq", "bits": 8}],
    ids=lambda each: "-".join(str(value) for value in each.values()),
)
def test_a_quantization_that_the_library_cannot_compute_is_refused(
    folder: Path, quantization: dict[str, object]
) -> None:
    write(folder, "config.json", {**CONFIG, "quantization_config": quantization})

    with pytest.raises(ConfigurationError, match=str(quantization["quant_method"])) as raised:
        read_folder(folder)
    assert "EXL2" in (raised.value.hint or "")


def test_an_architecture_that_would_be_computed_as_llama_is_refused(folder: Path) -> None:
    write(folder, "config.json", {**CONFIG, "architectures": ["DeepseekV3ForCausalLM"]})

    with pytest.raises(ConfigurationError, match="architecture=DeepseekV3ForCausalLM"):
        read_folder(folder)


def test_a_gguf_file_in_a_folder_is_named_for_the_other_engine(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-q4.gguf")

    with pytest.raises(ConfigurationError, match=r"no \.safetensors") as raised:
        read_folder(folder)
    assert "model-q4.gguf" in (raised.value.hint or "")


def test_the_tokenizer_s_hash_is_that_of_tokenizer_and_template(folder: Path) -> None:
    first = read_folder(folder).tokenizer_hash
    write_shard(folder / "model.safetensors", data=b"other weights")
    assert read_folder(folder).tokenizer_hash == first

    (folder / "chat_template.jinja").write_text("new")
    assert read_folder(folder).tokenizer_hash != first


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_what_lacks_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()

    with pytest.raises(ConfigurationError, match=missing.partition(".")[2]) as raised:
        read_folder(folder)
    assert raised.value.hint


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"architectures": 5}', '{"architectures": []}', "\ud800"]
)
def test_what_is_no_configuration_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_bytes(content.encode("utf-8", "surrogatepass"))

    with pytest.raises(ConfigurationError, match=r"config\.json"):
        read_folder(folder)


def test_a_model_that_never_ends_is_refused(folder: Path) -> None:
    write(folder, "config.json", {"architectures": ["LlamaForCausalLM"]})

    with pytest.raises(ConfigurationError, match="which token ends an answer"):
        read_folder(folder)


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        read_folder(folder / "config.json")


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "exllamav2", None)

    with pytest.raises(ConfigurationError, match="ExLlamaV2 cannot be used") as raised:
        library_version()
    assert "cocoon-p2p[exllama]" in (raised.value.hint or "")


def test_a_library_that_finds_no_card_to_be_built_for_is_no_fault_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exllamav2.py").write_text("[][-1]  # as torch does it, while the library is built\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "exllamav2", raising=False)

    with pytest.raises(ConfigurationError, match="no NVIDIA card"):
        library_version()
