"""llama.cpp's server core in this process: the one door to `xllamacpp`.

Everything here blocks and belongs in threads. Four things to know of the library:

* It always opens an HTTP port. Here it is on loopback, without its web page, and locked by
  a random key that no one else learns; we use it to split text into tokens, which the
  library offers nowhere else, so that the count is the engine's own.
* Loading holds Python's lock: trio stands still meanwhile. Open an engine before the
  node says that it is there.
* It prints its log on stderr, or nothing. A model that does not load is therefore tried
  once more in a child process, for the sake of the reason.
* Its prompt cache does not know who asks. Requests name their slot and whether they may
  reuse what the slot holds; the cache across slots is off.
"""

import http.client
import secrets
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import EngineError, RequestMalformed
from cocoon_p2p.inference.llama_messages import Completion, Failure, ServerEvent

BATCH_TOKENS: Final = 128
"""Prompt tokens computed in one step. A cancel, and every other request's next token, wait for at
most one step. Larger steps gain little on a CPU (128 instead of 2,048 costs 2 % of prefill speed)."""

CONTEXT_STEP_TOKENS: Final = 256
"llama.cpp rounds a context up to a multiple of this."

TOKENIZE_SECONDS: Final = 30.0
EXPLAIN_SECONDS: Final = 60.0

_INSTALL_HINT = "install it with: pip install 'cocoon-p2p[cpu]'"


class _Server(Protocol):
    """What we use of `xllamacpp.Server`, which has no types."""

    @property
    def listening_address(self) -> str: ...

    def handle_completions(self, prompt: bytes, callback: Callable[[bytes], bool]) -> None: ...

    def handle_embeddings(self, prompt: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class ServerSettings:
    model: Path
    slots: int
    context_tokens: int
    "For each slot."

    threads: int
    embeds: bool = False
    "Whether it is an embedding model, which answers nothing else."


def library_version() -> str:
    """Name and version for receipts.

    Raises:
        ConfigurationError: The library is missing or does not run here; the text says what to install.
    """
    return f"llama.cpp (xllamacpp {_library().__version__})"


class LlamaServer:
    """A loaded model. Every method may be called from many threads at once, but `close`.

    Raises:
        ConfigurationError: The library is missing, or the model does not load; the text says why.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._key = secrets.token_hex(16)
        parameters = _parameters(settings, self._key)
        try:
            server: _Server = _library().Server(parameters)
        except RuntimeError as exc:
            raise _explained(settings) from exc
        self._server: _Server | None = server
        self._address = server.listening_address.removeprefix("http://")
        self._compute_one_token(settings)

    def tokenize(self, text: str, *, is_prompt: bool = True) -> list[int]:
        """Split text as the engine does.

        Args:
            text: Any text.
            is_prompt: Whether the model's begin token is put before it, where the model wants one,
                and names of control tokens in it are such. False for text that a model wrote.

        Raises:
            RequestMalformed: It is no text: it has surrogates without their other half.
            EngineError: The engine does not answer.
        """
        try:
            body = msgspec.json.encode(
                {"content": text, "add_special": is_prompt, "parse_special": is_prompt}
            )
        except UnicodeEncodeError:
            raise RequestMalformed("the prompt holds half of a character (a lone surrogate)") from None
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        connection = http.client.HTTPConnection(self._address, timeout=TOKENIZE_SECONDS)
        try:
            connection.request("POST", "/tokenize", body, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status != http.HTTPStatus.OK:
                raise EngineError(f"llama.cpp did not split a text (status={response.status})")
            return _TOKENS.decode(answer).tokens
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as exc:
            raise EngineError(f"llama.cpp did not split a text: {exc}") from exc
        finally:
            connection.close()

    def complete(self, completion: Completion, on_event: Callable[[ServerEvent], bool]) -> None:
        """Compute one request; returns when it is over or `on_event` has returned True.

        Raises:
            EngineError: The server is closed, or says what nobody understands.
            Exception: Whatever `on_event` raised, which ends the request.
        """
        server = self._server
        if server is None:
            raise EngineError("llama.cpp is closed")
        raised: list[Exception] = []

        # The library swallows what its callback raises.
        def callback(data: bytes) -> bool:
            try:
                return on_event(_EVENTS.decode(data))
            except Exception as exc:  # noqa: BLE001 - raised again below
                raised.append(exc)
                return True

        try:
            server.handle_completions(_ENCODER.encode(completion), callback)
        except RuntimeError as exc:
            # Its words may quote what it computed.
            raise EngineError(f"llama.cpp failed (error={type(exc).__name__})") from None
        if raised:
            raise raised[0]

    def embed(self, text: Sequence[int]) -> bytes:
        """Compute the vector of one text: of length 1, float32, little-endian.

        Args:
            text: Its tokens, `context_tokens` at most.

        Raises:
            EngineError: The server is closed, refuses the text, or gives what is no vector.
        """
        server = self._server
        if server is None:
            raise EngineError("llama.cpp is closed")
        body = msgspec.json.encode({"input": [text], "encoding_format": "base64"})
        try:
            answer = _VECTORS.decode(server.handle_embeddings(body))
        except (RuntimeError, msgspec.MsgspecError) as exc:
            raise EngineError(f"llama.cpp gave no vector (error={type(exc).__name__})") from None
        if answer.error is not None or len(answer.data) != 1:
            kind = answer.error.type if answer.error else "none"
            raise EngineError(f"llama.cpp gave no vector (type={kind})")
        return answer.data[0].embedding

    def close(self) -> None:
        """Unload the model.

        No request may be running: the library would wait for it holding Python's lock.
        """
        self._server = None

    def _compute_one_token(self, settings: ServerSettings) -> None:
        """See that the model computes, and that the library's loop has begun.

        The library is ready a moment before its loop begins; unloaded in that moment, it
        waits for ever for a loop that was told to end too early.
        """
        if settings.embeds:
            try:
                self.embed([0])
            except EngineError as exc:
                raise _cannot_compute(str(exc), settings) from exc
            return
        last = ServerEvent()

        def on_event(event: ServerEvent) -> bool:
            nonlocal last
            last = event
            return False

        first = Completion([0], max_tokens=1, temperature=0, top_p=1, id_slot=0, cache_prompt=False)
        self.complete(first, on_event)
        if last.usage is None:
            reason = last.error.message if last.error else "it says nothing"
            raise _cannot_compute(reason, settings)


class _Tokens(msgspec.Struct):
    tokens: list[int]


class _Vector(msgspec.Struct):
    embedding: bytes
    "In base64 on its way."


class _Embeddings(msgspec.Struct):
    data: list[_Vector] = []
    error: Failure | None = None


_VECTORS = msgspec.json.Decoder(_Embeddings)
_TOKENS = msgspec.json.Decoder(_Tokens)
_EVENTS = msgspec.json.Decoder(ServerEvent)
_ENCODER = msgspec.json.Encoder()


def _library() -> Any:  # xllamacpp has no types.
    try:
        import xllamacpp
    except ImportError as exc:
        hint = _INSTALL_HINT
        if "libgomp" in str(exc):
            hint = "the OpenMP library is missing; on Debian and Ubuntu: apt install libgomp1"
        raise ConfigurationError(f"llama.cpp cannot be used: {exc}", hint=hint) from exc
    return xllamacpp


def _parameters(settings: ServerSettings, key: str) -> Any:
    # A text to embed may fill its context; llama.cpp then wants a place for one token more.
    needed = settings.context_tokens + settings.embeds
    context = -(-needed // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS
    parameters = _library().CommonParams()
    parameters.model.path = str(settings.model)
    parameters.n_parallel = settings.slots
    parameters.n_ctx = settings.slots * context
    # In a cache of several parts, a vector of a model that has one takes in texts of other slots.
    parameters.kv_unified = settings.embeds
    parameters.ctx_shift = False
    # The model looks at a text as a whole, so that is computed in one step.
    parameters.n_batch = parameters.n_ubatch = context if settings.embeds else BATCH_TOKENS
    parameters.embedding = settings.embeds
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings.threads

    # The first sizes the model by loading it twice; the second keeps prompts of all who ask.
    parameters.fit_params = False
    parameters.cache_ram_mib = 0

    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_threads_http = 2
    parameters.api_keys = [key]
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.verbosity = 0
    return parameters


def _cannot_compute(reason: str, settings: ServerSettings) -> ConfigurationError:
    return ConfigurationError(
        f"llama.cpp loads the model and cannot compute it: {reason} (path={settings.model})",
        hint="choose another model, or a newer llama.cpp: pip install -U xllamacpp",
    )


_EXPLAIN = """
import sys, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_ctx, parameters.ui, parameters.fit_params = sys.argv[1], 256, False, False
parameters.api_keys, parameters.verbosity = [sys.argv[2]], 1
xllamacpp.Server(parameters)
"""


def _explained(settings: ServerSettings) -> ConfigurationError:
    """Load the model once more in a child process that may print, and find the reason in what it prints."""
    command = [sys.executable, "-c", _EXPLAIN, str(settings.model), secrets.token_hex(16)]
    try:
        child = subprocess.run(command, capture_output=True, timeout=EXPLAIN_SECONDS, check=False)
        printed = child.stderr.decode("utf-8", "replace")
    except (OSError, subprocess.TimeoutExpired):
        printed = ""
    marker = "error loading model: "
    reasons = [line.partition(marker)[2].strip() for line in printed.splitlines() if marker in line]
    reason = reasons[0] if reasons else "it gives no reason; there may be too little memory"
    if "unknown model architecture" in reason:
        hint = "choose another model, or a newer llama.cpp: pip install -U xllamacpp"
    elif "file bounds" in reason:
        hint = "the file is incomplete: download it again and compare its size with its publisher's"
    else:
        hint = "try fewer slots or a shorter context, a smaller model, or download the file again"
    return ConfigurationError(f"llama.cpp cannot load the model: {reason} (path={settings.model})", hint=hint)
