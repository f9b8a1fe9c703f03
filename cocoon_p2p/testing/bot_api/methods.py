"""The methods that the fake has. Another name is answered 404, as the server answers one that it has not."""

from collections.abc import Callable, Mapping

from cocoon_p2p.testing.bot_api import asking, editing, sending
from cocoon_p2p.testing.bot_api.arguments import Arguments
from cocoon_p2p.testing.bot_api.bots import Bot
from cocoon_p2p.testing.bot_api.world import World

Method = Callable[[World, Bot, Arguments], object]

METHODS: Mapping[str, Method] = {
    name.lower(): method
    for name, method in dict[str, Method](
        {
            "getMe": asking.get_me,
            "getChat": asking.get_chat,
            "getChatMember": asking.get_chat_member,
            "getFile": asking.get_file,
            "setMyCommands": asking.set_my_commands,
            "getMyCommands": asking.get_my_commands,
            "deleteMyCommands": asking.accept,
            "setChatMenuButton": asking.accept,
            "answerCallbackQuery": asking.answer_callback_query,
            "answerInlineQuery": asking.answer_inline_query,
            "answerWebAppQuery": asking.answer_web_app_query,
            "sendMessage": sending.send_message,
            "sendMessageDraft": sending.send_message_draft,
            "sendChatAction": sending.send_chat_action,
            "sendPhoto": sending.SendFile("photo"),
            "sendVoice": sending.SendFile("voice"),
            "sendAudio": sending.SendFile("audio"),
            "sendVideo": sending.SendFile("video"),
            "sendDocument": sending.SendFile("document"),
            "editMessageText": editing.edit_message_text,
            "editMessageCaption": editing.edit_message_caption,
            "editMessageReplyMarkup": editing.edit_message_reply_markup,
            "deleteMessage": editing.delete_message,
        }
    ).items()
}
"By name in lower case: the server does not mind how a bot writes it."
