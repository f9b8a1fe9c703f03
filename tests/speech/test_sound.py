"""Recordings made into samples, by a process that can do nothing else."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import EngineError, PromptTooLong, RequestMalformed
from cocoon_p2p.inference.whisper import sound as sound_module
from cocoon_p2p.inference.whisper import sound_child
from cocoon_p2p.inference.whisper.sound import RATE, decode_sound, try_decoder
from cocoon_p2p.inference.whisper.spectrum import STEPS_PER_WINDOW, Spectrum, mel_filters
from cocoon_p2p.protocols.ids import AUDIO_MAX_BYTES
from tests.speech.conftest import wav

BOUND_SECONDS = 60
CHILD = Path(sound_child.__file__)


def tone(
    container: str, codec: str, seconds: float = 2.0, hertz: float = 1000.0, *, layout: str = "mono"
) -> bytes:
    """A tone in any container."""
    rate = 48_000 if codec == "libopus" else RATE
    samples = np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate) * 20_000
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=rate, layout=layout)
        channels = stream.codec_context.layout.nb_channels
        plane = np.repeat(samples.astype(np.int16), channels)[None, :]
        frame = av.AudioFrame.from_ndarray(plane, format="s16", layout=layout)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return out.getvalue()


FORMATS = [
    ("wav", "pcm_s16le"),
    ("ogg", "libopus"),
    ("mp3", "libmp3lame"),
    ("mp4", "aac"),
    ("webm", "libopus"),
    ("flac", "flac"),
    ("adts", "aac"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("container", "codec"), FORMATS)
async def test_a_tone_is_heard_at_its_pitch_in_every_container(container: str, codec: str) -> None:
    with trio.fail_after(BOUND_SECONDS):
        sound = await decode_sound(tone(container, codec), seconds_max=10)

    samples = np.frombuffer(sound.samples, "<i2").astype(float)
    loudest = np.argmax(np.abs(np.fft.rfft(samples[RATE // 2 : RATE // 2 + RATE])))
    assert abs(int(loudest) - 1000) <= 2
    assert abs(sound.count / RATE - 2.0) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("container", "codec"), [("mp3", "libmp3lame"), ("adts", "aac"), ("flac", "flac")])
async def test_what_stands_behind_a_tag_is_heard(container: str, codec: str) -> None:
    tagged = b"ID3\4\0\0\0\0\1\0" + bytes(128) + tone(container, codec, 1.0)

    with trio.fail_after(BOUND_SECONDS):
        sound = await decode_sound(tagged, seconds_max=10)

    assert abs(sound.count / RATE - 1.0) < 0.2


@pytest.mark.slow
async def test_channels_are_mixed_and_rates_brought_to_whisper_s() -> None:
    with trio.fail_after(BOUND_SECONDS):
        sound = await decode_sound(wav(1.5, rate=44_100, channels=2), seconds_max=10)

    assert abs(sound.count - 1.5 * RATE) < 100
    assert sound.begun_seconds == 2


@pytest.mark.slow
@pytest.mark.parametrize(("container", "codec"), [("mp3", "libmp3lame"), ("adts", "aac")])
async def test_what_was_pieced_together_of_mono_and_stereo_is_heard_whole(container: str, codec: str) -> None:
    pieced = tone(container, codec, 1.0) + tone(container, codec, 1.0, layout="stereo")

    with trio.fail_after(BOUND_SECONDS):
        sound = await decode_sound(pieced, seconds_max=10)

    assert abs(sound.count / RATE - 2.0) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Hello, write this down",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"OggS" + bytes(100),
        b"\x1a\x45\xdf\xa3" + bytes(100),
        bytes(4) + b"ftypisom" + bytes(100),
        wav(1, channels=16),
        wav(1, rate=1000),
        wav(0),
    ],
    ids=[
        "nothing",
        "text",
        "a playlist",
        "a list",
        "a head",
        "ogg",
        "webm",
        "mp4",
        "16 channels",
        "too slow",
        "no time",
    ],
)
async def test_what_is_no_sound_is_refused(data: bytes) -> None:
    with trio.fail_after(BOUND_SECONDS), pytest.raises(RequestMalformed, match="no sound"):
        await decode_sound(data, seconds_max=10)


@pytest.mark.slow
async def test_what_is_longer_than_allowed_is_refused_before_it_is_all_decoded() -> None:
    # An hour of silence is some kilobytes.
    hour = tone("flac", "flac", seconds=600, hertz=0)

    with trio.fail_after(BOUND_SECONDS), pytest.raises(PromptTooLong, match="too long"):
        await decode_sound(hour, seconds_max=3)


async def test_too_many_bytes_are_refused_without_a_process() -> None:
    with pytest.raises(PromptTooLong, match="too large"):
        await decode_sound(bytes(AUDIO_MAX_BYTES + 1), seconds_max=10)


@pytest.mark.slow
async def test_a_cancel_ends_the_child() -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: decode_sound(wav(5), seconds_max=10))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    # The run is over only when every child of it is waited for.


async def test_without_a_process_speech_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")

    with pytest.raises(ConfigurationError, match="no process"):
        await try_decoder()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "error", "why"),
    [
        ("sys.exit(4)", EngineError, "no seccomp"),
        ("sys.stdout.buffer.write(bytes(3))", RequestMalformed, "no sound"),
        ("while True: sys.stdout.buffer.write(bytes(65_536))", RequestMalformed, "no sound"),
    ],
    ids=["not shut in", "half a sample", "endless"],
)
async def test_a_child_is_believed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, error: type[EngineError], why: str
) -> None:
    child = tmp_path / "child.py"
    child.write_text(f"import sys\n{said}\n")
    monkeypatch.setattr(sound_module, "_CHILD", child)

    with trio.fail_after(BOUND_SECONDS), pytest.raises(error, match=why):
        await decode_sound(wav(1), seconds_max=10)


SHUT_IN = """
import ctypes, errno, os, socket, sys
sys.path.insert(0, {folder!r})
import sound_child
sound_child.rehearse()
assert sound_child.shut_in()
def refused(call):
    try:
        call()
    except OSError as exc:
        return exc.errno == errno.EPERM
    return False
libc = ctypes.CDLL(None, use_errno=True)
tried = [
    refused(lambda: os.open("/etc/passwd", os.O_RDONLY)),
    refused(lambda: os.open("/tmp/made", os.O_WRONLY | os.O_CREAT)),
    refused(lambda: socket.socket()),
    refused(os.fork),
    refused(lambda: os.kill(os.getppid(), 0)),
    refused(lambda: os.execv("/bin/true", ["true"])),
    libc.syscall({ptrace}, 16, os.getpid(), 0, 0) == -1 and ctypes.get_errno() == errno.EPERM,
]
print("".join("x" if each else "-" for each in tried))
"""


@pytest.mark.slow
def test_the_child_can_open_nothing_and_start_nothing() -> None:
    code = SHUT_IN.format(folder=str(CHILD.parent), ptrace=101 if sys.platform == "linux" else 0)

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert done.stdout == b"xxxxxxx\n", done.stderr[-500:]


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_file_with_bytes_turned_is_decoded_or_refused(data: st.DataObject) -> None:
    container, codec = data.draw(st.sampled_from(FORMATS))
    turned = bytearray(tone(container, codec, seconds=0.3))
    for _ in range(data.draw(st.integers(1, 20))):
        turned[data.draw(st.integers(4, len(turned) - 1))] ^= data.draw(st.integers(1, 255))

    async def decode() -> None:
        try:
            await decode_sound(bytes(turned), seconds_max=5)
        except (RequestMalformed, PromptTooLong):
            return

    trio.run(decode)


async def test_a_spectrum_is_loudest_at_the_tone_s_pitch() -> None:
    samples = (np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE) * 20_000).astype("<i2")
    from cocoon_p2p.inference.whisper.sound import Sound

    window = Spectrum(Sound(samples.tobytes()), 80).window(0)

    assert window.shape == (1, 80, STEPS_PER_WINDOW)
    frequencies = np.fft.rfftfreq(400, 1 / RATE)
    assert abs(frequencies[mel_filters(80)[int(np.argmax(window[0, :, 50]))].argmax()] - 1000) <= 40
    assert window[0, :, 200:].max() < window[0, :, 50].max() - 1
