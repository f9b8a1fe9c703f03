"""A backend that streams answers to browsers and sums texts up; who hangs up stops the paid work.

COCOON_CLIENT=client.toml uvicorn --app-dir examples fastapi_backend:app
curl -N --json '{"text": "Hello"}' http://127.0.0.1:8000/chat
curl --json '{"text": "It was a sunny day. ...", "sentences": 1}' http://127.0.0.1:8000/summarize

Whoever reaches it spends its owner's money: put your own login before it.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

from cocoon_p2p import aio
from cocoon_p2p.errors import CocoonError, ConfigurationError, Unavailable

MODEL = os.environ.get("COCOON_MODEL", "cocoon-demo")
MAX_COST = 1_000_000
"What one answer may cost, in nanoTON."

Result = TypeVar("Result")


class Asked(BaseModel):
    text: str = Field(min_length=1, max_length=8_000)
    sentences: int | None = Field(None, ge=1, le=20)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, aio.Client]]:
    async with aio.open_client(os.environ["COCOON_CLIENT"]) as client:
        yield {"client": client}


app = FastAPI(lifespan=lifespan)


@app.exception_handler(CocoonError)
async def tell(_request: Request, error: CocoonError) -> JSONResponse:
    """Say why there is no answer, and when to come again."""
    status = 400 if isinstance(error, ConfigurationError) else 503 if isinstance(error, Unavailable) else 502
    headers = {} if error.retry_after is None else {"retry-after": str(max(1, round(error.retry_after)))}
    told = {"error": error.code, "message": str(error), "hint": error.hint, "cost": error.charged}
    return JSONResponse(told, status, headers)


async def unless_hung_up(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Wait for what costs money, and stop it once nobody is there for its result any more."""

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(hang_up())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            raise HTTPException(499)
        return working.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def answering(asked: Asked, request: Request) -> AsyncIterator[aio.Answer]:
    """Have an answer begin before the response does, and leave it when the response has ended, however."""
    chat = request.state.client.chat(MODEL, [{"role": "user", "content": asked.text}], max_cost=MAX_COST)
    async with AsyncExitStack() as stack:
        yield await unless_hung_up(request, stack.enter_async_context(chat))


@app.post("/chat")
async def chat(answer: Annotated[aio.Answer, Depends(answering)]) -> StreamingResponse:
    """Stream an answer as server-sent events: its text, piece by piece, and in the end what it cost."""

    async def events() -> AsyncIterator[str]:
        end: dict[str, object] = {}
        try:
            async for piece in answer:
                yield f"data: {json.dumps({'text': piece.text})}\n\n"
        except CocoonError as error:
            end = {"error": error.code, "message": str(error)}
        end |= {"cost": answer.cost, "trust": str(answer.trust), "finish": answer.finish}
        yield f"event: end\ndata: {json.dumps(end)}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@app.post("/summarize")
async def summarize(asked: Asked, request: Request) -> dict[str, object]:
    async def read() -> dict[str, object]:
        client: aio.Client = request.state.client
        async with client.summarize(
            MODEL, asked.text, sentences=asked.sentences, max_cost=MAX_COST
        ) as answer:
            return {"summary": await answer.read(), "cost": answer.cost, "trust": str(answer.trust)}

    return await unless_hung_up(request, read())
