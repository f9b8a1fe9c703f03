"""The kit for Telegram bots whose answers are bought on the network, on aiogram 3.

`kit` has what bots use. What a chat shows is decided by pure parts: Markdown is read into a text with styles
(`markdown`, `styled`), cut into messages (`pages`), and compared with what stands (`showing`), at a rate that
Telegram takes (`pace`). Thin shells carry that out (`surface`, `delivery`) while the answer is read
(`reading`, `answering`), one after the other in each chat (`runs`). `talk` is what is remembered, `store`
where.
"""

from cocoon_p2p.telegram.answering import Told as Told
from cocoon_p2p.telegram.kit import BotKit as BotKit
from cocoon_p2p.telegram.questions import KitSettings as KitSettings
from cocoon_p2p.telegram.runs import Run as Run
from cocoon_p2p.telegram.sqlite_store import SqliteStore as SqliteStore
from cocoon_p2p.telegram.sqlite_store import open_sqlite_store as open_sqlite_store
from cocoon_p2p.telegram.stopping import is_administrator as is_administrator
from cocoon_p2p.telegram.store import MemoryStore as MemoryStore
from cocoon_p2p.telegram.store import Store as Store
from cocoon_p2p.telegram.talk import Choices as Choices
from cocoon_p2p.telegram.talk import Memory as Memory
from cocoon_p2p.telegram.talk import Place as Place
from cocoon_p2p.telegram.talk import Talk as Talk
from cocoon_p2p.telegram.talk import Turn as Turn
from cocoon_p2p.telegram.wording import Bill as Bill
from cocoon_p2p.telegram.wording import Wording as Wording
