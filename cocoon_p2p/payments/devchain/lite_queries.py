"""What a lite server may be asked, as far as it is understood here.

Spec: tl/generate/scheme/lite_api.tl, `---functions---`.
"""

from dataclasses import dataclass

from cocoon_p2p.payments.devchain.blocks import BlockId
from cocoon_p2p.payments.devchain.tl import tl

_ID = "id:tonNode.blockIdExt"
_PLACE = "id:tonNode.blockId"


@tl("tonNode.blockId workchain:int shard:long seqno:int = tonNode.BlockId")
@dataclass(frozen=True, slots=True)
class BlockPlace:
    workchain: int
    shard: int
    seqno: int


@tl("liteServer.accountId workchain:int id:int256 = liteServer.AccountId")
@dataclass(frozen=True, slots=True)
class AccountName:
    workchain: int
    id: bytes


@tl("liteServer.transactionId3 account:int256 lt:long = liteServer.TransactionId3")
@dataclass(frozen=True, slots=True)
class TransactionPlace:
    account: bytes
    lt: int


@tl("liteServer.waitMasterchainSeqno seqno:int timeout_ms:int = Object")
@dataclass(frozen=True, slots=True)
class WaitMasterchainSeqno:
    """Stands before another query, which is answered once that block is there."""

    seqno: int
    timeout_ms: int


@tl("liteServer.getTime = liteServer.CurrentTime")
@dataclass(frozen=True, slots=True)
class GetTime:
    pass


@tl("liteServer.getVersion = liteServer.Version")
@dataclass(frozen=True, slots=True)
class GetVersion:
    pass


@tl("liteServer.getMasterchainInfo = liteServer.MasterchainInfo")
@dataclass(frozen=True, slots=True)
class GetMasterchainInfo:
    pass


@tl("liteServer.getMasterchainInfoExt mode:# = liteServer.MasterchainInfoExt")
@dataclass(frozen=True, slots=True)
class GetMasterchainInfoExt:
    mode: int


@tl(f"liteServer.getBlock {_ID} = liteServer.BlockData")
@dataclass(frozen=True, slots=True)
class GetBlock:
    id: BlockId


@tl(f"liteServer.getBlockHeader {_ID} mode:# = liteServer.BlockHeader")
@dataclass(frozen=True, slots=True)
class GetBlockHeader:
    id: BlockId
    mode: int


@tl(f"liteServer.lookupBlock mode:# {_PLACE} lt:mode.1?long utime:mode.2?int = liteServer.BlockHeader")
@dataclass(frozen=True, slots=True)
class LookupBlock:
    mode: int
    "Bit 0: by number; bit 1: by logical time; bit 2: by time."

    id: BlockPlace
    lt: int | None
    utime: int | None


@tl("liteServer.sendMessage body:bytes = liteServer.SendMsgStatus")
@dataclass(frozen=True, slots=True)
class SendMessage:
    body: bytes


@tl(f"liteServer.getAccountState {_ID} account:liteServer.accountId = liteServer.AccountState")
@dataclass(frozen=True, slots=True)
class GetAccountState:
    id: BlockId
    account: AccountName


@tl(
    f"liteServer.runSmcMethod mode:# {_ID} account:liteServer.accountId method_id:long params:bytes"
    " = liteServer.RunMethodResult"
)
@dataclass(frozen=True, slots=True)
class RunMethod:
    mode: int
    "Bit 0: proofs of the account; bit 1: of its state; bit 2: the result; bits 3 and 4: not served."

    id: BlockId
    account: AccountName
    method_id: int
    params: bytes


@tl(f"liteServer.getShardInfo {_ID} workchain:int shard:long exact:Bool = liteServer.ShardInfo")
@dataclass(frozen=True, slots=True)
class GetShardInfo:
    id: BlockId
    workchain: int
    shard: int
    exact: bool


@tl(f"liteServer.getAllShardsInfo {_ID} = liteServer.AllShardsInfo")
@dataclass(frozen=True, slots=True)
class GetAllShardsInfo:
    id: BlockId


@tl(f"liteServer.getOneTransaction {_ID} account:liteServer.accountId lt:long = liteServer.TransactionInfo")
@dataclass(frozen=True, slots=True)
class GetOneTransaction:
    id: BlockId
    account: AccountName
    lt: int


@tl(
    "liteServer.getTransactions count:# account:liteServer.accountId lt:long hash:int256"
    " = liteServer.TransactionList"
)
@dataclass(frozen=True, slots=True)
class GetTransactions:
    count: int
    account: AccountName
    lt: int
    hash: bytes


_LISTING = (
    f"{_ID} mode:# count:# after:mode.7?liteServer.transactionId3"
    " reverse_order:mode.6?true want_proof:mode.5?true"
)


@tl(f"liteServer.listBlockTransactions {_LISTING} = liteServer.BlockTransactions")
@dataclass(frozen=True, slots=True)
class ListBlockTransactions:
    id: BlockId
    mode: int
    "Bits 0 to 2: what to say of each (account, logical time, hash)."

    count: int
    after: TransactionPlace | None
    reverse_order: bool | None
    want_proof: bool | None


@tl(f"liteServer.listBlockTransactionsExt {_LISTING} = liteServer.BlockTransactionsExt")
@dataclass(frozen=True, slots=True)
class ListBlockTransactionsExt:
    id: BlockId
    mode: int
    count: int
    after: TransactionPlace | None
    reverse_order: bool | None
    want_proof: bool | None


@tl(f"liteServer.getConfigAll mode:# {_ID} = liteServer.ConfigInfo")
@dataclass(frozen=True, slots=True)
class GetConfigAll:
    mode: int
    id: BlockId


@tl(f"liteServer.getConfigParams mode:# {_ID} param_list:(vector int) = liteServer.ConfigInfo")
@dataclass(frozen=True, slots=True)
class GetConfigParams:
    mode: int
    id: BlockId
    param_list: tuple[int, ...]


@tl("liteServer.getLibraries library_list:(vector int256) = liteServer.LibraryResult")
@dataclass(frozen=True, slots=True)
class GetLibraries:
    library_list: tuple[bytes, ...]
