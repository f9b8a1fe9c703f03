"""Recordings made into samples, in a child process that can do nothing else (`sound_child`)."""

import io
import os
import subprocess
import sys
import wave
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import EngineError, PromptTooLong, RequestMalformed
from cocoon_p2p.protocols.ids import AUDIO_MAX_BYTES

RATE: Final = 16_000
"Samples a second: what Whisper was trained on."

DECODE_SECONDS: Final = 40.0
"For one recording, by the clock; the child's own processor time ends before."

DONE, NOT_SHUT_IN = 0, 4
"The child's exit status; others mean that the recording cannot be decoded."

_CHILD: Final = Path(__file__).with_name("sound_child.py")
_ENVIRONMENT: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH")
_KINDS: Final = "WAV, Ogg, FLAC, MP3, AAC, MP4 or WebM"


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples of 16 bits, little endian, one channel, `RATE` a second."""

    samples: bytes

    @property
    def count(self) -> int:
        return len(self.samples) // 2

    @property
    def begun_seconds(self) -> int:
        return -(-self.count // RATE)


async def decode_sound(data: bytes, *, seconds_max: int) -> Sound:
    """Decode a recording. Cancelled, the child is killed.

    Raises:
        PromptTooLong: It is longer, in bytes or in seconds.
        RequestMalformed: It is none of the kinds that are taken, or broken.
        EngineError: No child could be had, or the kernel does not shut it in.
    """
    if len(data) > AUDIO_MAX_BYTES:
        raise PromptTooLong(f"the recording is too large (size={len(data)} max={AUDIO_MAX_BYTES} bytes)")
    size_max = 2 * RATE * (seconds_max + 1)
    with trio.move_on_after(DECODE_SECONDS):
        status, samples = await _run_child(data, seconds_max, size_max)
        sound = Sound(samples)
        if status == NOT_SHUT_IN:
            raise EngineError("the kernel does not shut the decoder of recordings in (no seccomp)")
        if status != DONE or not samples or len(samples) % 2:
            raise RequestMalformed(f"the recording is no sound that is known here: {_KINDS}")
        if sound.begun_seconds > seconds_max:
            raise PromptTooLong(
                f"the recording is too long (seconds_max={seconds_max})", hint="cut it into shorter ones"
            )
        return sound
    raise RequestMalformed(f"the recording takes too long to decode (limit={DECODE_SECONDS:g} s)")


async def try_decoder() -> None:
    """See that recordings can be decoded on this machine.

    Raises:
        ConfigurationError: They cannot; the text says what to install.
    """
    silence = io.BytesIO()
    with wave.open(silence, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(RATE // 5))
    try:
        await decode_sound(silence.getvalue(), seconds_max=1)
    except EngineError as exc:
        raise ConfigurationError(
            f"recordings cannot be decoded: {exc}",
            hint="it needs Linux on x86-64 or arm64, and: pip install 'cocoon-p2p[speech]'",
        ) from exc


async def _run_child(data: bytes, seconds_max: int, size_max: int) -> tuple[int | None, bytes]:
    """Give a child the recording; returns its exit status and what it wrote, up to a size."""
    # -I: neither the environment nor the current folder brings libraries along.
    command = [sys.executable, "-I", str(_CHILD), str(seconds_max * RATE)]
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            check=False,
            deliver_cancel=_kill,
        )
        try:
            process: trio.Process = await nursery.start(start)
        except OSError as exc:
            # Raised in here, it would leave the nursery in a group.
            reason = exc.strerror
        else:
            assert process.stdin is not None
            nursery.start_soon(_feed, process.stdin, data)
            return await _hear(process, size_max)
    raise EngineError(f"no process for a decoder of recordings: {reason}")


async def _hear(process: trio.Process, size_max: int) -> tuple[int | None, bytes]:
    samples = bytearray()
    assert process.stdout is not None
    async for some in process.stdout:
        samples += some
        if len(samples) > size_max:
            # It was told to stop there: whoever writes on is not our program any more.
            process.kill()
            break
    await process.wait()
    return process.returncode, bytes(samples)


async def _feed(stream: trio.abc.SendStream, data: bytes) -> None:
    async with stream:
        try:
            await stream.send_all(data)
        except trio.BrokenResourceError:
            # The child has seen enough to refuse it.
            return


async def _kill(process: trio.Process) -> None:
    process.kill()
