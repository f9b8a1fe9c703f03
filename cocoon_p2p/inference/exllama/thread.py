"""The one thread that owns the generator.

    queue --> start --> [ step of all orders --> pieces ] --> end
                 readers that left are cancelled before each step

A step that fails concerns every order: all of them fail, and the generator is made anew. One that fails
time and again without computing anything is given up.
"""

import logging
import queue
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cocoon_p2p.inference.engine import EngineError, Finish, Piece
from cocoon_p2p.inference.exllama.generator import Generator, Order, Step, Ticket
from cocoon_p2p.inference.pipe import Pipe
from cocoon_p2p.inference.text import AnswerText
from cocoon_p2p.inference.tools import PieceCalls
from cocoon_p2p.inference.wishes import TokenLogprob

log = logging.getLogger(__name__)

FAILURES_MAX: Final = 3
"In a row, with no step between them."

CLOSE_SECONDS: Final = 30.0
"How long a step may hold up the end. A card that hangs would never let this process go."


@dataclass(eq=False)
class Job:
    """One request on its way through the generator.

    Args:
        order: What to compute.
        stop: Stop strings. They are looked for here: the library would count what it cuts off.
        pipe: Where pieces go.
        let_go: Told, in the thread, once the generator holds nothing of it any more.
        calls: Takes tool calls out of the text, where the model may call any.
    """

    order: Order
    stop: tuple[str, ...]
    pipe: Pipe[Piece]
    let_go: Callable[[], None]
    calls: PieceCalls | None = None
    text: AnswerText = field(init=False)
    said_tokens: int = 0
    unsaid: tuple[TokenLogprob, ...] = ()
    "Of tokens whose text is held back."

    def __post_init__(self) -> None:
        self.text = AnswerText(self.stop)

    def take(self, step: Step) -> bool:
        """Hand one step on; say whether the generator need not go on."""
        if step.prompt_tokens is not None:
            self.pipe.offer(Piece("", 0, step.prompt_tokens))
            return False
        self.unsaid += step.logprobs
        self.text, delivery = self.text.feed(step.text.encode("utf-8", "replace"), step.tokens)
        text, tokens = delivery.text, delivery.completion_tokens
        finish = Finish.STOP if delivery.stopped else step.finish
        if step.finish is not None and not delivery.stopped:
            last = self.text.end()
            # The token that ends an answer has no text, and counts with the last piece.
            text, tokens = text + last.text, step.tokens
        if text or finish is not None:
            logprobs = self._logprobs(tokens)
            piece = Piece(text, tokens, len(self.order.prompt), step.cached_tokens, finish, logprobs=logprobs)
            self.pipe.offer(piece if self.calls is None else self.calls.read(piece))
        return finish is not None

    def _logprobs(self, tokens: int) -> tuple[TokenLogprob, ...]:
        """Take those of what is delivered now, up to so many tokens in all."""
        count = tokens - self.said_tokens
        self.said_tokens, told, self.unsaid = tokens, self.unsaid[:count], self.unsaid[count:]
        return told


class GeneratorThread:
    """Runs orders, many at once, until `close`.

    Args:
        make: Makes the generator, also anew after a failure.

    Raises:
        Exception: Whatever making it raised.
    """

    def __init__(self, make: Callable[[], Generator]) -> None:
        self._make = make
        self._orders = queue.SimpleQueue[Job | None]()
        self._running = dict[Ticket, Job]()
        self._door = threading.Lock()
        "Held so that no order slips in behind the last look for orders."

        self._made = threading.Event()
        self._failure: Exception | None = None
        self._generator: Generator | None = None
        self._thread = threading.Thread(target=self._run, name="exllama", daemon=True)

    def open(self) -> None:
        """Make the generator. Blocks until it is made.

        Raises:
            Exception: Whatever making it raised.
        """
        self._thread.start()
        self._made.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def is_alive(self) -> bool:
        """Whether orders are taken: false once the generator was given up."""
        return self._failure is None

    def submit(self, job: Job) -> None:
        """Take a job up; its pipe tells what becomes of it. Any thread.

        Raises:
            EngineError: The engine is closed, or was given up.
        """
        with self._door:
            if self._failure is not None:
                raise EngineError("the engine takes no requests any more")
            self._orders.put(job)

    def cached_tokens(self, order: Order) -> int:
        """Say how much of an order's prompt is cached right now. Any thread."""
        generator = self._generator
        return 0 if generator is None else generator.cached_tokens(order.prompt, order.cache_scope)

    def close(self) -> None:
        """Fail what runs, and end the thread. Blocks until it has ended, for `CLOSE_SECONDS` at most."""
        self._orders.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            log.error("engine does not stop", extra={"waited_seconds": CLOSE_SECONDS})

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            self._generator = self._make()
        except Exception as exc:  # noqa: BLE001 - raised again by open
            self._failure = exc
            return
        finally:
            self._made.set()
        failures = 0
        while self._take_orders():
            try:
                self._let_go_of_the_left()
                self._hand_on(self._generator.step() if self._running else ())
            # A panic of a library in Rust is no Exception.
            except BaseException as exc:  # noqa: BLE001 - whatever the library raises, the thread goes on
                log.error("engine thread failed", extra={"running": len(self._running), **_where(exc)})
                failures += 1
                if not self._start_again(failures):
                    break
            else:
                failures = 0
        self._end(EngineError("the engine was closed"))

    def _take_orders(self) -> bool:
        """Start what waits; say whether to go on."""
        while True:
            try:
                job = self._orders.get(block=not self._running)
            except queue.Empty:
                return True
            if job is None:
                return False
            self._start(job)

    def _start(self, job: Job) -> None:
        assert self._generator is not None
        if job.pipe.stopped:
            job.let_go()
            return
        try:
            self._running[self._generator.start(job.order)] = job
        except Exception as exc:  # noqa: BLE001 - an order's own fault must not end the others
            # The library's words may quote the prompt.
            log.warning("order refused by the library", extra={"error": type(exc).__name__})
            job.pipe.close(EngineError("the engine cannot take this request"))
            job.let_go()

    def _let_go_of_the_left(self) -> None:
        """Cancel whose reader has left."""
        assert self._generator is not None
        for ticket in [ticket for ticket, job in self._running.items() if job.pipe.stopped]:
            self._generator.cancel(ticket)
            self._running.pop(ticket).let_go()

    def _hand_on(self, steps: Sequence[Step]) -> None:
        assert self._generator is not None
        for step in steps:
            job = self._running.get(step.ticket)
            if job is None or (step.error is None and not job.take(step)):
                continue
            if step.finish is None:
                self._generator.cancel(step.ticket)
            del self._running[step.ticket]
            job.pipe.close(step.error)
            job.let_go()

    def _start_again(self, failures: int) -> bool:
        self._fail_running(EngineError("the engine failed"))
        generator, self._generator = self._generator, None
        assert generator is not None
        try:
            # First, or the new one finds no memory.
            generator.close()
            del generator
            if failures >= FAILURES_MAX:
                raise EngineError("it fails each time")
            self._generator = self._make()
        except Exception as exc:  # noqa: BLE001 - as above
            log.error("engine given up", extra=_where(exc))
            self._failure = exc
            return False
        return True

    def _fail_running(self, error: EngineError) -> None:
        for job in self._running.values():
            job.pipe.close(error)
            job.let_go()
        self._running.clear()

    def _end(self, error: EngineError) -> None:
        with self._door:
            self._failure = self._failure or error
        self._fail_running(error)
        self._fail_waiting(error)
        generator, self._generator = self._generator, None
        if generator is not None:
            try:
                generator.close()
            except Exception as exc:  # noqa: BLE001 - as above
                log.error("engine does not close", extra=_where(exc))

    def _fail_waiting(self, error: EngineError) -> None:
        while True:
            try:
                job = self._orders.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                job.pipe.close(error)
                job.let_go()


def _where(exc: BaseException) -> dict[str, object]:
    """Say what was raised, and where: the library's own words may quote the prompt."""
    frames = traceback.extract_tb(exc.__traceback__)[-8:]
    at = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(exc).__name__, "at": at}
