"""A local TON chain: the real virtual machine, real blocks and proofs, and a lite server in front.

`DevChain` is the chain, an object without a socket; `serve_liteserver` puts it on one. Needs the
extra `[devchain]`.
"""

from cocoon_p2p.payments.devchain.account import Account as Account
from cocoon_p2p.payments.devchain.account import Status as Status
from cocoon_p2p.payments.devchain.chain import FAUCET as FAUCET
from cocoon_p2p.payments.devchain.chain import DevChain as DevChain
from cocoon_p2p.payments.devchain.config import LOCAL_GLOBAL_ID as LOCAL_GLOBAL_ID
from cocoon_p2p.payments.devchain.config import local_config as local_config
from cocoon_p2p.payments.devchain.history import Limits as Limits
from cocoon_p2p.payments.devchain.liteserver import serve_liteserver as serve_liteserver
from cocoon_p2p.payments.devchain.messages import AccountId as AccountId
from cocoon_p2p.payments.devchain.messages import address_of as address_of
from cocoon_p2p.payments.devchain.messages import external_message as external_message
from cocoon_p2p.payments.devchain.messages import internal_message as internal_message
from cocoon_p2p.payments.devchain.messages import state_init as state_init
from cocoon_p2p.payments.devchain.methods import MethodResult as MethodResult
from cocoon_p2p.payments.devchain.methods import method_id as method_id
from cocoon_p2p.payments.devchain.saved import load as load
from cocoon_p2p.payments.devchain.saved import save as save
from cocoon_p2p.payments.devchain.tvm import MessageRejected as MessageRejected
from cocoon_p2p.payments.devchain.tvm import Transaction as Transaction
