"""Methods that are about what people asked, and about the bot itself."""

from typing import cast

from cocoon_p2p.testing.bot_api.answers import bad_request
from cocoon_p2p.testing.bot_api.arguments import Arguments, entries, fields
from cocoon_p2p.testing.bot_api.bots import Bot
from cocoon_p2p.testing.bot_api.inline import post_result, read_result
from cocoon_p2p.testing.bot_api.messages import Json
from cocoon_p2p.testing.bot_api.world import World

CALLBACK_TEXT_MAX = 200
"Characters of the note that an answer to a press may show."

INLINE_RESULTS_MAX = 50


def get_me(_world: World, bot: Bot, _arguments: Arguments) -> object:
    """Say who the bot is."""
    return bot.user.as_json() | {
        "can_join_groups": True,
        "can_read_all_group_messages": not bot.privacy,
        "supports_inline_queries": True,
        "has_main_web_app": True,
    }


def set_my_commands(_world: World, bot: Bot, arguments: Arguments) -> object:
    """Keep the menu of commands."""
    commands = arguments.value("commands", "can't parse commands JSON object")
    bot.commands = entries(commands)
    return True


def get_my_commands(_world: World, bot: Bot, _arguments: Arguments) -> object:
    """Give the menu of commands."""
    return bot.commands


def accept(_world: World, _bot: Bot, _arguments: Arguments) -> object:
    """Say yes to what changes nothing that anybody sees here."""
    return True


def get_chat(world: World, bot: Bot, arguments: Arguments) -> object:
    """Describe a chat."""
    chat = world.find_chat(bot, arguments, write=False)
    return chat.chat | {"accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": _no_gifts()}


def get_chat_member(world: World, bot: Bot, arguments: Arguments) -> object:
    """Say what somebody is in a chat. The first person of a group owns it."""
    chat = world.find_chat(bot, arguments, write=False)
    user_id = arguments.integer("user_id")
    if user_id == bot.id:
        return {"user": bot.user.as_json(), "status": "member"}
    person = next((person for person in chat.people if person.id == user_id), None)
    if person is None:
        raise bad_request("PARTICIPANT_ID_INVALID")
    owner = not chat.private and person is chat.people[0]
    status: Json = {"status": "creator", "is_anonymous": False} if owner else {"status": "member"}
    return {"user": person.as_json()} | status


def get_file(world: World, bot: Bot, arguments: Arguments) -> object:
    """Make a file ready to be fetched."""
    file_id = arguments.text("file_id")
    if not file_id:
        raise bad_request("file_id not specified")
    return world.files.prepare(bot.id, file_id)


def answer_callback_query(world: World, bot: Bot, arguments: Arguments) -> object:
    """Answer a press: the clock on the button stops."""
    text = arguments.text("text")
    if len(text) > CALLBACK_TEXT_MAX:
        raise bad_request("MESSAGE_TOO_LONG")
    answer: Json = {
        "text": text,
        "show_alert": arguments.flag("show_alert"),
        "url": arguments.text("url"),
    }
    bot.answer(arguments.text("callback_query_id"), "callback", answer, world.clock())
    return True


def answer_inline_query(world: World, bot: Bot, arguments: Arguments) -> object:
    """Answer an inline query with results."""
    results = arguments.value("results", "can't parse JSON encoded inline query results")
    if not isinstance(results, list):
        raise bad_request("expected an Array of inline query results")
    found = entries(cast("object", results))
    if len(found) > INLINE_RESULTS_MAX:
        raise bad_request("RESULTS_TOO_MUCH")
    for result in map(fields, found):
        read_result(result)
    answer: Json = {
        "results": found,
        "next_offset": arguments.text("next_offset"),
        "is_personal": arguments.flag("is_personal"),
        "cache_time": arguments.integer("cache_time", 300),
    }
    bot.answer(arguments.text("inline_query_id"), "inline", answer, world.clock())
    return True


def answer_web_app_query(world: World, bot: Bot, arguments: Arguments) -> object:
    """Post something in the name of who opened a Mini App, where they opened it."""
    result = arguments.fields("result", "can't parse JSON encoded web view query results")
    read_result(result)
    question = bot.answer(arguments.text("web_app_query_id"), "web_app", result, world.clock())
    assert question.place is not None  # It was asked in a chat.
    message = post_result(question.place, bot, question.asked_by, result)
    return {"inline_message_id": message.inline_message_id} if message.inline_message_id else {}


def _no_gifts() -> Json:
    kinds = (
        "unlimited_gifts",
        "limited_gifts",
        "unique_gifts",
        "premium_subscription",
        "gifts_from_channels",
    )
    return dict[str, object](dict.fromkeys(kinds, False))
