"""TON seen through lite servers, with proofs: what a payment believes about a chain.

async with open_chain(Path("global.config.json"), MAINNET) as chain:
seen = await chain.account(account)
"""

from cocoon_p2p.payments.lite.client import Limits as Limits
from cocoon_p2p.payments.lite.client import LiteChain as LiteChain
from cocoon_p2p.payments.lite.client import open_chain as open_chain
from cocoon_p2p.payments.lite.following import BlockFollower as BlockFollower
from cocoon_p2p.payments.lite.following import BlocksRead as BlocksRead
from cocoon_p2p.payments.lite.networks import LOCAL as LOCAL
from cocoon_p2p.payments.lite.networks import MAINNET as MAINNET
from cocoon_p2p.payments.lite.networks import NETWORKS as NETWORKS
from cocoon_p2p.payments.lite.networks import TESTNET as TESTNET
from cocoon_p2p.payments.lite.networks import Network as Network
from cocoon_p2p.payments.lite.proofs import Unreadable as Unreadable
from cocoon_p2p.payments.lite.queries import ZeroState as ZeroState
