"""A wallet of one's own on TON: its key, its requests, its file, and paying from it once.

v5r1      where it is and what it signs, pure          mnemonic   its key, as 24 words
landing   what became of a payment, pure               journal    what is remembered of it
spending  the shell that pays, and looks until it knows
wallet_file, spending_file   both on disk              sweeping   the surplus goes on
"""

from cocoon_p2p.payments.wallet.v5r1 import CODE_HASH as CODE_HASH
from cocoon_p2p.payments.wallet.v5r1 import COMMENT_SIZE_MAX_BYTES as COMMENT_SIZE_MAX_BYTES
from cocoon_p2p.payments.wallet.v5r1 import TRANSFERS_MAX as TRANSFERS_MAX
from cocoon_p2p.payments.wallet.v5r1 import Request as Request
from cocoon_p2p.payments.wallet.v5r1 import SignedRequest as SignedRequest
from cocoon_p2p.payments.wallet.v5r1 import Transfer as Transfer
from cocoon_p2p.payments.wallet.v5r1 import Wallet as Wallet
from cocoon_p2p.payments.wallet.v5r1 import WalletKey as WalletKey
from cocoon_p2p.payments.wallet.v5r1 import check_transfers as check_transfers
from cocoon_p2p.payments.wallet.v5r1 import code as code
from cocoon_p2p.payments.wallet.v5r1 import comment as comment
from cocoon_p2p.payments.wallet.v5r1 import read_request as read_request
from cocoon_p2p.payments.wallet.v5r1 import read_seqno as read_seqno
from cocoon_p2p.payments.wallet.v5r1 import sign_request as sign_request
