"""`cocoon transcribe`: have speech written down."""

import functools
from pathlib import Path
from typing import Any

import click

from cocoon_p2p.cli.buying import (
    config_option,
    cost_option,
    first_model,
    json_option,
    run_client,
    tokens_option,
    trust_option,
    weights_option,
    wishes_given,
)
from cocoon_p2p.cli.telling import tell
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.protocols.ids import AUDIO_MAX_BYTES, Kind


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--language", default="", help="What is spoken, such as en. Left out: the model tells.")
@click.option("--prompt", default="", help="Names and words that occur in it.")
@click.option("--model", help="By default the first that can be bought for this.")
@tokens_option
@cost_option
@trust_option
@weights_option
@config_option
@json_option
def transcribe(
    file: Path,
    language: str,
    prompt: str,
    model: str | None,
    max_tokens: int | None,
    max_cost: int | None,
    trust: str | None,
    weights: str | None,
    config_file: Path,
    as_json: bool,
) -> None:
    """Write down what is said in FILE: WAV, Ogg Opus, FLAC, MP3, AAC, MP4 or WebM."""
    wishes = wishes_given(max_tokens, max_cost, trust, weights) | {"language": language, "prompt": prompt}
    use = functools.partial(_ask, audio=_read(file), model=model, wishes=wishes, as_json=as_json)
    run_client(config_file, use)


def _read(file: Path) -> bytes:
    try:
        with click.open_file(str(file), "rb") as stream:
            data: bytes = stream.read(AUDIO_MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror}") from exc
    if len(data) > AUDIO_MAX_BYTES:
        raise ConfigurationError(
            f"the recording is too large (max={AUDIO_MAX_BYTES} bytes)",
            hint="cut it, or make it smaller: ffmpeg -i FILE -ac 1 -b:a 24k speech.ogg",
        )
    return data


async def _ask(
    client: Any, *, audio: bytes, model: str | None, wishes: dict[str, Any], as_json: bool
) -> None:
    name = model or await first_model(client, Kind.TRANSCRIPTION)
    await tell(client.transcribe(name, audio, **wishes), as_json=as_json)
