"""Sound decoded in a process that can do nothing else: a recording is a program for FFmpeg, from a stranger.

What FFmpeg makes of a hostile file is not to be trusted, so this process knows no secrets, has little memory
and little time, lives for one recording, and gives its rights up before it looks at the first byte: from then
on the kernel refuses it (seccomp) all but memory and what it has open, which is one pipe in and one out. It
opens no file, no socket, no thread and no process, whatever the recording makes it try.

Beside that only the containers and codecs below are taken, chosen by the first bytes and not by FFmpeg's own
guess: some of its containers are playlists, which name files and addresses for it to open.

It is run as a file and imports nothing of ours. In: the recording, to its end. Out: samples, 16 bits, little
endian, one channel, 16,000 a second, as many as asked for and one second more at most. The exit status says
how it went.
"""

import ctypes
import importlib
import io
import os
import platform
import resource
import sys
import wave
from typing import Any, Final

# PyAV imports what it has for each kind of stream when it meets one; then it would be too late.
av: Any = importlib.import_module("av")
importlib.import_module("av.subtitles.stream")
importlib.import_module("av.video.stream")

RATE: Final = 16_000
DATA_MAX_BYTES: Final = 64 * 1024 * 1024
MEMORY_MAX_BYTES: Final = 1024 * 1024 * 1024
"Of the whole process, FFmpeg's libraries among it."

CPU_SECONDS: Final = 10
"An hour of Opus takes some seconds. Nobody has paid yet, so it also stands behind all other work."

NICENESS: Final = 10

FAULTS_MAX: Final = 64
"Packets that make no sense, before the whole recording makes none."

DONE, NOT_SOUND, NOT_SHUT_IN = 0, 3, 4

CODECS: Final = frozenset(
    [
        *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_s16be"),
        *("pcm_mulaw", "pcm_alaw", "opus", "libopus", "vorbis", "libvorbis", "mp3", "mp3float"),
        *("aac", "flac", "alac"),
    ]
)
CHANNELS_MAX: Final = 8
RATES: Final = range(4_000, 192_001)
"A second of it comes to no more than 16,000 samples; at a rate of one, a small file would be years."

# ------------------------------------------------------------ what the kernel still allows

_ALLOWED: Final = {
    # read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
    # sched_yield mremap madvise getpid exit sigaltstack gettid futex clock_gettime exit_group getrandom
    "x86_64": (
        0xC000003E,
        (0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 28, 39, 60, 131, 186, 202, 228, 231, 318),
    ),
    "aarch64": (
        0xC00000B7,
        (
            63,
            64,
            57,
            80,
            62,
            222,
            226,
            215,
            214,
            134,
            135,
            139,
            124,
            216,
            233,
            172,
            93,
            132,
            178,
            98,
            113,
            94,
            278,
        ),
    ),
}
"The kernel's name of an architecture, and its numbers of these calls."

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
"Refused calls fail with EPERM, which libraries know how to live with."


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jump_true", ctypes.c_ubyte),
        ("jump_false", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def shut_in() -> bool:
    """Give up all rights but memory and what is open; False where the kernel does not know how."""
    if sys.platform != "linux" or platform.machine() not in _ALLOWED:
        return False
    architecture, calls = _ALLOWED[platform.machine()]
    program = [
        _Instruction(_LOAD, 0, 0, _ARCHITECTURE_AT),
        _Instruction(_JUMP_IF_EQUAL, 1, 0, architecture),
        _Instruction(_RETURN, 0, 0, _KILL),
        _Instruction(_LOAD, 0, 0, _NUMBER_AT),
    ]
    for number in calls:
        program += [_Instruction(_JUMP_IF_EQUAL, 0, 1, number), _Instruction(_RETURN, 0, 0, _ALLOW)]
    program.append(_Instruction(_RETURN, 0, 0, _REFUSE))
    instructions = (_Instruction * len(program))(*program)
    filters = _Program(len(program), instructions)
    libc = ctypes.CDLL(None)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    return not libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(filters), 0, 0)


# ------------------------------------------------------------ the recording


def container_of(data: bytes) -> str | None:
    """Name the container by its first bytes, as FFmpeg calls it; None: none that is taken."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[4:8] == b"ftyp":
        return "mp4"
    for magic, name in (
        (b"OggS", "ogg"),
        (b"fLaC", "flac"),
        (b"\x1a\x45\xdf\xa3", "matroska"),
    ):
        if data.startswith(magic):
            return name
    if data.startswith(b"ID3"):
        # A tag, its size in seven bits of each of four bytes. MP3 may have more of them.
        size = sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=False))
        behind = data[10 + size : 14 + size]
        return "flac" if behind == b"fLaC" else _by_sync(behind) or "mp3"
    return _by_sync(data)


def _by_sync(data: bytes) -> str | None:
    # Eleven bits of one; then AAC says layer 0, and MP3 layer 1.
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        return "aac" if data[1] & 0x06 == 0 else "mp3"
    return None


def decode(data: bytes, samples_max: int) -> bytes | None:
    """Decode a recording up to so many samples, or one second more. None: it is no sound."""
    name = container_of(data)
    if name is None:
        return None
    options = {
        "codec_whitelist": ",".join(sorted(CODECS)),
        "protocol_whitelist": "",
        "format_whitelist": name,
    }
    if name in ("mp4", "matroska"):
        options["format_whitelist"] = {"mp4": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm"}[name]
    mixed = _Mixed()
    with av.open(io.BytesIO(data), format=name, options=options, metadata_errors="ignore") as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        codec = stream.codec_context
        # There is none where FFmpeg has no decoder for it.
        if codec is None or codec.name not in CODECS:
            return None
        codec.thread_count = 1
        faults = 0
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                faults += 1
                if faults > FAULTS_MAX:
                    return None
                continue
            for frame in frames:
                mixed.take(frame)
            if len(mixed.samples) > samples_max * 2:
                return bytes(mixed.samples[: (samples_max + RATE) * 2])
        mixed.end()
    return bytes(mixed.samples) or None


class _Mixed:
    """Frames brought to one channel and rate. Recordings that were pieced together change theirs midway."""

    def __init__(self) -> None:
        self.samples = bytearray()
        self._form: tuple[str, str, int] | None = None
        self._resampler: Any = None

    def take(self, frame: Any) -> None:
        """Add a frame; ValueError if it has too many channels, or a rate that none has."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            if not 1 <= frame.layout.nb_channels <= CHANNELS_MAX or frame.sample_rate not in RATES:
                raise ValueError(f"channels or rate out of range (form={form})")
            self.end()
            self._form = form
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        frame.pts = None
        self._add(self._resampler.resample(frame))

    def end(self) -> None:
        """Add what is still under way of the frames so far."""
        if self._resampler is not None:
            self._add(self._resampler.resample(None))

    def _add(self, frames: Any) -> None:
        for plain in frames:
            self.samples += bytes(plain.planes[0])[: plain.samples * 2]


def rehearse() -> None:
    """Decode a little silence of our own, so that all of PyAV is imported while files can be opened."""
    silence = io.BytesIO()
    with wave.open(silence, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(RATE // 5))
    decode(silence.getvalue(), RATE)


def main() -> int:
    """Decode the recording on standard input; the first argument says how many samples are wanted at most."""
    samples_max = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    av.logging.set_level(None)
    rehearse()
    source, out = sys.stdin.buffer, sys.stdout.buffer
    if not shut_in():
        return NOT_SHUT_IN
    data = source.read(DATA_MAX_BYTES)
    try:
        samples = decode(data, samples_max)
    except (av.error.FFmpegError, ValueError, MemoryError, OSError):
        return NOT_SOUND
    if samples is None:
        return NOT_SOUND
    out.write(samples)
    out.flush()
    return DONE


if __name__ == "__main__":
    sys.exit(main())
