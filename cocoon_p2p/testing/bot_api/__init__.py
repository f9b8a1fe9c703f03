"""Telegram's Bot API for tests: a server on this machine that says no and loses connections as the real one.

async with open_bot_api() as api:
    session = AiohttpSession(api=TelegramAPIServer.from_base(api.url))
    bot = aiogram.Bot(api.token, session=session)
    ...
    chat = api.private(api.user(7))
    chat.say("hello")
    await chat.until(lambda chat: chat.texts == ["hello to you"])
"""

from cocoon_p2p.testing.bot_api.arguments import Arguments as Arguments
from cocoon_p2p.testing.bot_api.board import Sight as Sight
from cocoon_p2p.testing.bot_api.bots import Bot as Bot
from cocoon_p2p.testing.bot_api.bots import Question as Question
from cocoon_p2p.testing.bot_api.chats import Chat as Chat
from cocoon_p2p.testing.bot_api.chats import MiniApp as MiniApp
from cocoon_p2p.testing.bot_api.chats import signed_init_data as signed_init_data
from cocoon_p2p.testing.bot_api.fake import Call as Call
from cocoon_p2p.testing.bot_api.fake import FakeBotApi as FakeBotApi
from cocoon_p2p.testing.bot_api.fake import Reply as Reply
from cocoon_p2p.testing.bot_api.faults import Fault as Fault
from cocoon_p2p.testing.bot_api.faults import FaultKind as FaultKind
from cocoon_p2p.testing.bot_api.flood import UNLIMITED as UNLIMITED
from cocoon_p2p.testing.bot_api.flood import FloodLimits as FloodLimits
from cocoon_p2p.testing.bot_api.messages import Button as Button
from cocoon_p2p.testing.bot_api.messages import Draft as Draft
from cocoon_p2p.testing.bot_api.messages import Keyboard as Keyboard
from cocoon_p2p.testing.bot_api.messages import Message as Message
from cocoon_p2p.testing.bot_api.messages import User as User
from cocoon_p2p.testing.bot_api.serving import open_bot_api as open_bot_api
