"""Everything that is on the other side of the Bot API: bots, people, chats, files, and the time."""

from cocoon_p2p.testing.bot_api.answers import BLOCKED, CHAT_NOT_FOUND, KICKED, Rejected, bad_request
from cocoon_p2p.testing.bot_api.arguments import Arguments
from cocoon_p2p.testing.bot_api.board import Clock
from cocoon_p2p.testing.bot_api.bots import Bot
from cocoon_p2p.testing.bot_api.chats import Chat
from cocoon_p2p.testing.bot_api.files import Files
from cocoon_p2p.testing.bot_api.flood import FloodLimits
from cocoon_p2p.testing.bot_api.messages import Message, User

GROUPS_FROM = -1001000000001
"The number of the first group; supergroups count down from here."


class World:
    """What there is.

    Args:
        clock: Tells the time, in seconds since the Unix epoch.
        limits: How much each bot may send.
    """

    def __init__(self, clock: Clock, limits: FloodLimits) -> None:
        self.clock = clock
        self.files = Files()
        self._limits = limits
        self._bots: dict[str, Bot] = {}
        self._users: dict[int, User] = {}
        self._chats: dict[tuple[int, int], Chat] = {}
        "By the bot's number and the chat's; groups are there once for each bot in them."
        self._groups = 0

    def add_bot(self, token: str, username: str) -> Bot:
        """Make a bot; the number in front of its token is its id."""
        user = User(int(token.partition(":")[0]), username.title(), username, is_bot=True)
        return self._bots.setdefault(token, Bot(token, user, self._limits))

    def bot(self, token: str) -> Bot:
        """Find a bot by its token.

        Raises:
            Rejected: There is none.
        """
        number, colon, _ = token.partition(":")
        if not colon or not number.isdecimal() or number.startswith("0") or len(token) > 80:
            raise Rejected(401, "Unauthorized: invalid token specified")
        if token not in self._bots:
            raise Rejected(401, "Unauthorized")
        return self._bots[token]

    def user(self, user_id: int, first_name: str, username: str, language: str) -> User:
        """Find a person, or make them."""
        return self._users.setdefault(user_id, User(user_id, first_name, username, language))

    def known(self, user_id: int) -> User | None:
        """Find a person."""
        return self._users.get(user_id)

    def private(self, user: User, bot: Bot) -> Chat:
        """Find the chat of a person with a bot, or have them start it."""
        chat = {"id": user.id, "type": "private", "first_name": user.first_name}
        if user.username:
            chat["username"] = user.username
        made = Chat(dict(chat), self.clock, (user,), (bot,), self.files)
        return self._chats.setdefault((bot.id, user.id), made)

    def group(self, title: str, people: tuple[User, ...], bots: tuple[Bot, ...]) -> Chat:
        """Make a group (a supergroup, as all are that bots have to do with)."""
        number = GROUPS_FROM - self._groups
        self._groups += 1
        chat = Chat(
            {"id": number, "type": "supergroup", "title": title}, self.clock, people, bots, self.files
        )
        for bot in bots:
            self._chats[bot.id, number] = chat
        return chat

    def find_chat(self, bot: Bot, arguments: Arguments, *, write: bool = True) -> Chat:
        """Find the chat that a call names.

        Raises:
            Rejected: There is none, or the bot may not write there.
        """
        named = arguments.text("chat_id").strip()
        if not named:
            raise bad_request("chat_id is empty")
        number = arguments.integer("chat_id")
        chat = self._chats.get((bot.id, number))
        if chat is None:
            if number in self._users:
                raise Rejected(403, "Forbidden: bot can't initiate conversation with a user")
            raise bad_request(CHAT_NOT_FOUND)
        if write and bot.id in chat.blocked:
            raise Rejected(403, BLOCKED if chat.private else KICKED)
        return chat

    def inline_message(self, bot: Bot, inline_message_id: str) -> tuple[Chat, Message]:
        """Find a message that came by way of the bot.

        Raises:
            Rejected: There is none.
        """
        chat_id, message_id = bot.inline_messages.get(inline_message_id, (0, 0))
        chat = self._chats.get((bot.id, chat_id))
        if chat is None:
            raise bad_request("MESSAGE_ID_INVALID")
        return chat, chat.find(message_id, "message to edit")
