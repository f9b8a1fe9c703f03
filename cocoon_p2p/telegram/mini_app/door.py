"""A Mini App's backend: users show who they are and which wallet is theirs, and pay for their own requests.

    POST /api/session   init data                    -> a token, a nonce for the wallet
    POST /api/nonce                                  -> another nonce
    POST /api/proof     the wallet's account, proof  -> the wallet is the session's
    POST /api/balance                                -> how the user's own channel stands
    POST /api/top-up    how much                     -> what the wallet is to send
    POST /api/close     alone or not                 -> what the wallet is to send
    POST /api/chat      the chat so far              -> server-sent events: piece, ..., end or error
    GET  /tonconnect-manifest.json, and the page's files

Bodies and answers are JSON. All but the first go with `Authorization: Bearer TOKEN`. An error is
`{"error": {"code", "message", "hint"}}`. Nothing of a session is written down; nothing said is logged.

Spec: docs/mini-app.md.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from cocoon_p2p.attestation.verdict import trust_text
from cocoon_p2p.errors import CocoonError, ConfigurationError, RecordRejected, Refused
from cocoon_p2p.payments.address import spell_address
from cocoon_p2p.payments.chain import Chain
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.wallet import Transfer
from cocoon_p2p.telegram.mini_app.guard import Guard, check_origin
from cocoon_p2p.telegram.mini_app.init_data import bot_id_of, check_init_data
from cocoon_p2p.telegram.mini_app.orders import manifest, spell_order
from cocoon_p2p.telegram.mini_app.own_channel import OwnChannel
from cocoon_p2p.telegram.mini_app.own_channels import OwnChannels, User
from cocoon_p2p.telegram.mini_app.proof import WalletProof, check_proof, read_proof
from cocoon_p2p.telegram.mini_app.sessions import Session, Sessions, take_nonce
from cocoon_p2p.telegram.mini_app.settings import DoorSettings
from cocoon_p2p.telegram.mini_app.spelling import (
    Body,
    Verb,
    answering,
    read_body,
    read_chat,
    read_text,
    spell_error,
    spell_standing,
    told,
)
from cocoon_p2p.telegram.mini_app.wallets import key_of_account, key_of_state_init
from cocoon_p2p.units import Nano
from cocoon_p2p.web.event_stream import EventStream, Say, spell_event

_BEARER = "Bearer "


class Door:
    """A Mini App's backend, as an ASGI app for trio.

    Args:
        settings: The owner's.
        channels: The users' own.
        chain: The TON network that wallets and channels are on.
        clock: Seconds since the Unix epoch.
        draw: Draws random bytes, for tokens and nonces.
        pages: The folder of the page's files; None: they are elsewhere.

    Raises:
        ConfigurationError: The settings' origin or token cannot be.
    """

    def __init__(
        self,
        settings: DoorSettings,
        channels: OwnChannels,
        chain: Chain,
        *,
        clock: Callable[[], float],
        draw: Callable[[int], bytes] = os.urandom,
        pages: Path | None = None,
    ) -> None:
        self._settings = settings
        self._domain = check_origin(settings.origin)
        bot_id_of(settings.token)
        self._channels = channels
        self._chain = chain
        self._clock = clock
        self._sessions = Sessions(draw)
        self.app: ASGIApp = Guard(self._routes(pages), settings.origin)

    def _routes(self, pages: Path | None) -> Starlette:
        verbs: dict[str, Verb] = {
            "session": self._begin,
            "nonce": self._with_session(self._nonce),
            "proof": self._with_session(self._prove),
            "balance": self._with_channel(self._balance),
            "top-up": self._with_channel(self._top_up),
            "close": self._with_channel(self._close),
        }
        routes: list[Route | Mount] = [
            Route("/tonconnect-manifest.json", self._manifest),
            Route("/api/chat", self._chat, methods=["POST"]),
        ]
        routes += [Route(f"/api/{name}", answering(verb), methods=["POST"]) for name, verb in verbs.items()]
        if pages is not None:
            routes.append(Mount("/", StaticFiles(directory=pages, html=True)))
        return Starlette(routes=routes)

    # ------------------------------------------------------------ who it is

    async def _begin(self, _request: Request, body: Body) -> dict[str, Any]:
        settings, now = self._settings, self._clock()
        said = check_init_data(
            read_text(body, "init_data"),
            token=settings.token,
            now=now,
            age_max_seconds=settings.init_data_age_max_seconds,
        )
        if said.user is None:
            raise RecordRejected(
                "init data: it names no user", hint="open the Mini App from a chat with its bot"
            )
        token, session = self._sessions.begin(said.user, now)
        return {
            "token": token,
            "nonce": self._sessions.challenge(session, now),
            "name": said.user.first_name,
            "model": settings.model,
            "max_cost": settings.max_cost,
            "top_up_min": settings.top_up_min,
            "top_up_max": settings.top_up_max,
            "manifest": f"{settings.origin}/tonconnect-manifest.json",
            "network": str(self._chain.global_id),
        }

    def _session(self, request: Request) -> Session:
        said = request.headers.get("authorization", "")
        token = said.removeprefix(_BEARER) if said.startswith(_BEARER) else ""
        return self._sessions.find(token, self._clock())

    async def _nonce(self, session: Session, _body: Body) -> dict[str, Any]:
        return {"nonce": self._sessions.challenge(session, self._clock())}

    async def _prove(self, session: Session, body: Body) -> dict[str, Any]:
        # Taken before anything is judged: one nonce, one try.
        nonce = take_nonce(session, self._clock())
        proof = read_proof(body, global_id=self._chain.global_id)
        key = await self._key(proof)
        check_proof(proof, key, domain=self._domain, payload=nonce, now=self._clock())
        session.wallet = proof.account
        return {"wallet": spell_address(proof.account, global_id=self._chain.global_id)}

    async def _key(self, proof: WalletProof) -> bytes:
        if proof.state_init is not None:
            return key_of_state_init(proof.account, proof.state_init)
        return key_of_account(await self._chain.account(proof.account))

    # ------------------------------------------------------------ the user's own money

    async def _balance(self, channel: OwnChannel, _wallet: AccountId, _body: Body) -> dict[str, Any]:
        return spell_standing(await channel.look(), self._chain.global_id)

    async def _top_up(self, channel: OwnChannel, wallet: AccountId, body: Body) -> dict[str, Any]:
        settings, capacity = self._settings, body.get("capacity")
        if type(capacity) is not int or not settings.top_up_min <= capacity <= settings.top_up_max:
            raise ConfigurationError(
                f"not an amount to top up by (min={settings.top_up_min} max={settings.top_up_max} nanoTON)"
            )
        transfer = await channel.deposit(
            Nano(capacity),
            settings.model,
            max_cost=settings.max_cost,
            completion_tokens_max=settings.completion_tokens_max,
        )
        return self._order(transfer, wallet)

    async def _close(self, channel: OwnChannel, wallet: AccountId, body: Body) -> dict[str, Any]:
        is_alone = body.get("alone") is True
        return self._order(await (channel.close_alone() if is_alone else channel.close()), wallet)

    def _order(self, transfer: Transfer, wallet: AccountId) -> dict[str, Any]:
        return spell_order(transfer, payer=wallet, global_id=self._chain.global_id, now=self._clock())

    # ------------------------------------------------------------ what it is for

    async def _chat(self, request: Request) -> Response | EventStream:
        try:
            user = _user(self._session(request))
            messages = read_chat(await read_body(request))
        except CocoonError as error:
            return spell_error(error)
        except ClientDisconnect:
            return Response(status_code=400)

        async def work(say: Say) -> None:
            try:
                async with self._channels.use(user) as channel:
                    await self._answer(channel, messages, say)
            except CocoonError as error:
                await say(spell_event("error", {**told(error), "charged": error.charged}))

        return EventStream(work)

    async def _answer(self, channel: OwnChannel, messages: list[dict[str, Any]], say: Say) -> None:
        settings = self._settings
        async with channel.chat(
            settings.model,
            messages,
            max_cost=settings.max_cost,
            completion_tokens_max=settings.completion_tokens_max,
        ) as answer:
            async for piece in answer:
                await say(spell_event("piece", {"text": piece.text}))
        standing = spell_standing(channel.standing(), self._chain.global_id)
        trust = None if answer.trust is None else trust_text(answer.trust)
        await say(spell_event("end", {"cost": answer.cost, "trust": trust, "balance": standing}))

    # ------------------------------------------------------------ the rest

    async def _manifest(self, _request: Request) -> JSONResponse:
        settings = self._settings
        said = manifest(origin=settings.origin, name=settings.name, icon_url=settings.icon_url)
        # Wallets read it from pages of their own.
        return JSONResponse(said, headers={"access-control-allow-origin": "*"})

    def _with_session(self, verb: Callable[[Session, Body], Awaitable[dict[str, Any]]]) -> Verb:
        async def judged(request: Request, body: Body) -> dict[str, Any]:
            return await verb(self._session(request), body)

        return judged

    def _with_channel(self, verb: Callable[[OwnChannel, AccountId, Body], Awaitable[dict[str, Any]]]) -> Verb:
        async def judged(request: Request, body: Body) -> dict[str, Any]:
            user = _user(self._session(request))
            async with self._channels.use(user) as channel:
                return await verb(channel, user[1], body)

        return judged


def _user(session: Session) -> User:
    if session.wallet is None:
        raise Refused("no wallet is connected", code="no-wallet", hint="connect a wallet first")
    return session.user.id, session.wallet
