"""What is asked of the network for somebody in Telegram: which model, with what history, on whose budget."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace

from aiogram import Bot
from aiogram.types import Audio, Voice

from cocoon_p2p import aio
from cocoon_p2p.client import Budget, Message, Wishes
from cocoon_p2p.client.bounds import PROMPT_OVERHEAD_TOKENS
from cocoon_p2p.errors import Refused
from cocoon_p2p.protocols.ids import AUDIO_MAX_BYTES, Kind
from cocoon_p2p.telegram.reading import Ask
from cocoon_p2p.telegram.speech import download
from cocoon_p2p.telegram.store import Talks
from cocoon_p2p.telegram.talk import TURN_OVERHEAD_BYTES, Memory, Place, Turn, recent

COMPLETION_TOKENS_MAX = 512
"What an answer has at most, unless the wishes say otherwise."


@dataclass(frozen=True, slots=True)
class KitSettings:
    """What holds for all chats of a bot."""

    model: str | None = None
    "That answers where a chat chose none; None: the first that is offered."

    speech_model: str | None = None
    "That writes down speech; None: the first that is offered."

    instructions: str = ""
    "What the model is told before each chat."

    budget: Budget | None = None
    "Of each chat. None: what it spends is counted, and limited by the client's own rules alone."

    wishes: Wishes = field(default_factory=Wishes)
    "How everything is to be answered: `max_cost`, `trust`, `temperature` ..."

    memory: Memory = field(default_factory=Memory)
    answer_units_max: int = 32_000
    "UTF-16 units of an answer; what is beyond is not bought. Eight messages."

    sound_max_bytes: int = AUDIO_MAX_BYTES
    "Of a recording; a larger one is not fetched."

    waiting_max: int = 4
    "Questions of one chat, the one that is being answered included."

    runs_max: int = 256
    "Questions of all chats."


Offer = Callable[[aio.Client, Wishes], AbstractAsyncContextManager[aio.Answer]]
"Makes a request of a client; the wishes name the purse: `lambda client, wishes: client.chat(..., **wishes)`."


class Questions:
    """Asks for chats. What each method gives is asked only when it is called, in its turn.

    Args:
        client: The network.
        settings: What holds for all chats.
        talks: What is remembered of each.
    """

    def __init__(self, client: aio.Client, settings: KitSettings, talks: Talks) -> None:
        self._client = client
        self._settings = settings
        self._talks = talks
        self._allowed: set[str] = set()
        "Purses that were given their budget since the program began."

    def chat(self, place: Place, text: str, *, is_alone: bool = False) -> Ask:
        """Ask for the next turn of a place's talk; or for the only one, of nothing that was said before."""

        async def ask() -> AbstractAsyncContextManager[aio.Answer]:
            talk = await self._talks.load(place)
            model = await self._find(Kind.CHAT, talk.choices.model or self._settings.model)
            wishes = await self._wishes(place)
            tokens_max = wishes.get("completion_tokens_max") or COMPLETION_TOKENS_MAX
            memory = self._settings.memory
            if model.context_tokens is not None:
                tokens_max = min(tokens_max, model.context_tokens // 2)
                memory = self._within(model.context_tokens - tokens_max)
            wishes["completion_tokens_max"] = tokens_max
            before = () if is_alone else talk.turns
            turns = recent((*before, Turn("user", text)), memory)
            return self._client.chat(model.name, self._messages(turns), **wishes)

        return ask

    def translation(self, place: Place, text: str, *, to: str) -> Ask:
        """Ask for a translation. The talk is not told, nor does it hear of it."""

        async def ask() -> AbstractAsyncContextManager[aio.Answer]:
            return self._client.translate(
                await self._chat_model(place), text, to=to, **await self._wishes(place)
            )

        return ask

    def summary(self, place: Place, text: str, *, sentences: int | None) -> Ask:
        """Ask for a summary, as for a translation."""

        async def ask() -> AbstractAsyncContextManager[aio.Answer]:
            return self._client.summarize(
                await self._chat_model(place), text, sentences=sentences, **await self._wishes(place)
            )

        return ask

    def transcript(self, place: Place, bot: Bot, recording: Voice | Audio) -> Ask:
        """Ask for what was said in a recording."""

        async def ask() -> AbstractAsyncContextManager[aio.Answer]:
            model = await self._find(Kind.TRANSCRIPTION, self._settings.speech_model)
            wishes = await self._wishes(place)
            sound = await download(bot, recording, size_max_bytes=self._settings.sound_max_bytes)
            # As much as can be said in that time, unless its owner says otherwise.
            return self._client.transcribe(model.name, sound, **wishes)

        return ask

    def other(self, place: Place, offer: Offer) -> Ask:
        """Ask for something else, on the chat's budget."""

        async def ask() -> AbstractAsyncContextManager[aio.Answer]:
            return offer(self._client, await self._wishes(place))

        return ask

    async def names(self) -> tuple[str, ...]:
        """Name the models that chat."""
        offered = await self._client.models()
        return tuple(dict.fromkeys(one.model.name for one in offered if one.model.kind is Kind.CHAT))

    async def purse(self, place: Place) -> str:
        """Name a chat's purse, with its budget in it.

        Raises:
            CocoonError: The ledger cannot be written, or there are too many purses.
        """
        name = f"telegram/{place.bot_id}/{place.chat_id}"
        if self._settings.budget is not None and name not in self._allowed:
            await self._client.purses.allow(name, self._settings.budget)
            self._allowed.add(name)
        return name

    async def _wishes(self, place: Place) -> Wishes:
        wishes = self._settings.wishes.copy()
        wishes["purse"] = await self.purse(place)
        return wishes

    async def _chat_model(self, place: Place) -> str:
        chosen = (await self._talks.load(place)).choices.model
        return (await self._find(Kind.CHAT, chosen or self._settings.model)).name

    async def _find(self, kind: Kind, name: str | None) -> "_Model":
        """Find a model; without a name the first of its kind. What workers have of one may differ."""
        offered = [one.model for one in await self._client.models() if one.model.kind is kind]
        if name is None and not offered:
            code = "no-model" if kind is Kind.CHAT else "no-speech-model"
            raise Refused(f"nobody offers a model for this (kind={kind.name.lower()})", code=code)
        name = name or offered[0].name
        return _Model(name, min((one.context_tokens for one in offered if one.name == name), default=None))

    def _within(self, context_tokens: int) -> Memory:
        instructions = len(self._settings.instructions.encode()) + TURN_OVERHEAD_BYTES
        room = max(0, context_tokens - PROMPT_OVERHEAD_TOKENS - instructions)
        memory = self._settings.memory
        return replace(memory, size_max_bytes=min(memory.size_max_bytes, room))

    def _messages(self, turns: tuple[Turn, ...]) -> list[Message]:
        messages: list[Message] = [{"role": turn.role, "content": turn.content} for turn in turns]
        if self._settings.instructions:
            messages.insert(0, {"role": "system", "content": self._settings.instructions})
        return messages


@dataclass(frozen=True, slots=True)
class _Model:
    name: str
    context_tokens: int | None
    "None: nobody is known to offer it, which whoever asks is told by the network."
