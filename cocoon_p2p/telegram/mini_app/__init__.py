"""A Mini App whose users pay for their own requests.

init_data    what Telegram says of who opened it, judged      proof     what a wallet says of whose it is
wallets      whose key a wallet obeys                         sessions  who is at the door
own_channel  a user's channel, funded by the user's wallet    own_channels, folders   everybody's
orders       what a wallet is asked to send                   door, serving         all of it over HTTP
"""

from cocoon_p2p.telegram.mini_app.door import Door as Door
from cocoon_p2p.telegram.mini_app.folders import sides_in as sides_in
from cocoon_p2p.telegram.mini_app.init_data import PRODUCTION_KEY as PRODUCTION_KEY
from cocoon_p2p.telegram.mini_app.init_data import TEST_KEY as TEST_KEY
from cocoon_p2p.telegram.mini_app.init_data import InitData as InitData
from cocoon_p2p.telegram.mini_app.init_data import MiniAppChat as MiniAppChat
from cocoon_p2p.telegram.mini_app.init_data import MiniAppUser as MiniAppUser
from cocoon_p2p.telegram.mini_app.init_data import bot_id_of as bot_id_of
from cocoon_p2p.telegram.mini_app.init_data import check_init_data as check_init_data
from cocoon_p2p.telegram.mini_app.init_data import check_third_party_init_data as check_third_party_init_data
from cocoon_p2p.telegram.mini_app.own_channels import open_own_channels as open_own_channels
from cocoon_p2p.telegram.mini_app.serving import serve_door as serve_door
from cocoon_p2p.telegram.mini_app.serving import serve_mini_app as serve_mini_app
from cocoon_p2p.telegram.mini_app.settings import DoorSettings as DoorSettings
