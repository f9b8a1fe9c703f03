"""Results of inline queries: what a person posts by way of a bot."""

from cocoon_p2p.testing.bot_api.answers import EMPTY_TEXT, bad_request
from cocoon_p2p.testing.bot_api.arguments import fields
from cocoon_p2p.testing.bot_api.board import Board
from cocoon_p2p.testing.bot_api.bots import Bot
from cocoon_p2p.testing.bot_api.entities import Marked
from cocoon_p2p.testing.bot_api.markup import read_markup
from cocoon_p2p.testing.bot_api.messages import Json, Keyboard, Message, User, read_keyboard


def read_result(result: Json) -> tuple[Marked, Keyboard | None]:
    """Read one InlineQueryResult: the text that it posts, and its buttons.

    Raises:
        Rejected: It is none that can be posted.
    """
    if not result.get("type") or not result.get("id"):
        raise bad_request("can't parse inline query result: Can't find field \"type\"")
    content = fields(result.get("input_message_content"))
    text = str(content.get("message_text") or "")
    if not text:
        raise bad_request(f"can't parse inline query result: {EMPTY_TEXT}")
    marked = read_markup(text, str(content.get("parse_mode") or ""), content.get("entities"))
    # Where it will be posted is not known when it is read.
    return marked, read_keyboard(fields(result.get("reply_markup")), private=False)


def post_result(board: Board, bot: Bot, by: User, result: Json) -> Message:
    """Post a result in somebody's name. With buttons under it, the bot may edit it by an id of its own.

    Raises:
        Rejected: It is none that can be posted.
    """
    marked, keyboard = read_result(result)
    inline_message_id = f"inline-{bot.id}-{len(bot.inline_messages) + 1}" if keyboard else ""
    message = board.post(by, marked, keyboard=keyboard, via_bot=bot.user, inline_message_id=inline_message_id)
    if keyboard:
        bot.inline_messages[inline_message_id] = board.id, message.message_id
    return message
