"""What a lite server answers.

Spec: tl/generate/scheme/lite_api.tl.
"""

from dataclasses import dataclass

from cocoon_p2p.payments.devchain.blocks import BlockId
from cocoon_p2p.payments.devchain.tl import tl

_BLOCK = "tonNode.blockIdExt"
_ID = f"id:{_BLOCK}"


@tl("tonNode.zeroStateIdExt workchain:int root_hash:int256 file_hash:int256 = tonNode.ZeroStateIdExt")
@dataclass(frozen=True, slots=True)
class ZeroStateId:
    workchain: int
    root_hash: bytes
    file_hash: bytes


@tl("liteServer.error code:int message:string = liteServer.Error")
@dataclass(frozen=True, slots=True)
class LiteError:
    code: int
    message: str


@tl("liteServer.currentTime now:int = liteServer.CurrentTime")
@dataclass(frozen=True, slots=True)
class CurrentTime:
    now: int


@tl("liteServer.version mode:# version:int capabilities:long now:int = liteServer.Version")
@dataclass(frozen=True, slots=True)
class Version:
    mode: int
    version: int
    capabilities: int
    now: int


@tl(
    f"liteServer.masterchainInfo last:{_BLOCK} state_root_hash:int256 init:tonNode.zeroStateIdExt"
    " = liteServer.MasterchainInfo"
)
@dataclass(frozen=True, slots=True)
class MasterchainInfo:
    last: BlockId
    state_root_hash: bytes
    init: ZeroStateId


@tl(
    f"liteServer.masterchainInfoExt mode:# version:int capabilities:long last:{_BLOCK} last_utime:int now:int"
    " state_root_hash:int256 init:tonNode.zeroStateIdExt = liteServer.MasterchainInfoExt"
)
@dataclass(frozen=True, slots=True)
class MasterchainInfoExt:
    mode: int
    version: int
    capabilities: int
    last: BlockId
    last_utime: int
    now: int
    state_root_hash: bytes
    init: ZeroStateId


@tl(f"liteServer.blockData {_ID} data:bytes = liteServer.BlockData")
@dataclass(frozen=True, slots=True)
class BlockData:
    id: BlockId
    data: bytes


@tl(f"liteServer.blockHeader {_ID} mode:# header_proof:bytes = liteServer.BlockHeader")
@dataclass(frozen=True, slots=True)
class BlockHeader:
    id: BlockId
    mode: int
    header_proof: bytes


@tl("liteServer.sendMsgStatus status:int = liteServer.SendMsgStatus")
@dataclass(frozen=True, slots=True)
class SendStatus:
    status: int


@tl(
    f"liteServer.accountState {_ID} shardblk:{_BLOCK} shard_proof:bytes proof:bytes state:bytes"
    " = liteServer.AccountState"
)
@dataclass(frozen=True, slots=True)
class AccountState:
    id: BlockId
    shardblk: BlockId
    shard_proof: bytes
    proof: bytes
    state: bytes


@tl(
    f"liteServer.runMethodResult mode:# {_ID} shardblk:{_BLOCK} shard_proof:mode.0?bytes"
    " proof:mode.0?bytes state_proof:mode.1?bytes init_c7:mode.3?bytes lib_extras:mode.4?bytes"
    " exit_code:int result:mode.2?bytes = liteServer.RunMethodResult"
)
@dataclass(frozen=True, slots=True)
class RunMethodResult:
    mode: int
    id: BlockId
    shardblk: BlockId
    shard_proof: bytes | None
    proof: bytes | None
    state_proof: bytes | None
    init_c7: bytes | None
    lib_extras: bytes | None
    exit_code: int
    result: bytes | None


@tl(
    f"liteServer.shardInfo {_ID} shardblk:{_BLOCK} shard_proof:bytes shard_descr:bytes = liteServer.ShardInfo"
)
@dataclass(frozen=True, slots=True)
class ShardInfo:
    id: BlockId
    shardblk: BlockId
    shard_proof: bytes
    shard_descr: bytes


@tl(f"liteServer.allShardsInfo {_ID} proof:bytes data:bytes = liteServer.AllShardsInfo")
@dataclass(frozen=True, slots=True)
class AllShardsInfo:
    id: BlockId
    proof: bytes
    data: bytes


@tl(f"liteServer.transactionInfo {_ID} proof:bytes transaction:bytes = liteServer.TransactionInfo")
@dataclass(frozen=True, slots=True)
class TransactionInfo:
    id: BlockId
    proof: bytes
    transaction: bytes


@tl(f"liteServer.transactionList ids:(vector {_BLOCK}) transactions:bytes = liteServer.TransactionList")
@dataclass(frozen=True, slots=True)
class TransactionList:
    ids: tuple[BlockId, ...]
    transactions: bytes


@tl(
    "liteServer.transactionId#b12f65af mode:# account:mode.0?int256 lt:mode.1?long hash:mode.2?int256"
    " = liteServer.TransactionId"
)
@dataclass(frozen=True, slots=True)
class TransactionName:
    mode: int
    account: bytes | None
    lt: int | None
    hash: bytes | None


@tl(
    f"liteServer.blockTransactions {_ID} req_count:# incomplete:Bool ids:(vector liteServer.transactionId)"
    " proof:bytes = liteServer.BlockTransactions"
)
@dataclass(frozen=True, slots=True)
class BlockTransactions:
    id: BlockId
    req_count: int
    incomplete: bool
    ids: tuple[TransactionName, ...]
    proof: bytes


@tl(
    f"liteServer.blockTransactionsExt {_ID} req_count:# incomplete:Bool transactions:bytes proof:bytes"
    " = liteServer.BlockTransactionsExt"
)
@dataclass(frozen=True, slots=True)
class BlockTransactionsExt:
    id: BlockId
    req_count: int
    incomplete: bool
    transactions: bytes
    proof: bytes


@tl(f"liteServer.configInfo mode:# {_ID} state_proof:bytes config_proof:bytes = liteServer.ConfigInfo")
@dataclass(frozen=True, slots=True)
class ConfigInfo:
    mode: int
    id: BlockId
    state_proof: bytes
    config_proof: bytes


@tl("liteServer.libraryEntry hash:int256 data:bytes = liteServer.LibraryEntry")
@dataclass(frozen=True, slots=True)
class LibraryEntry:
    hash: bytes
    data: bytes


@tl("liteServer.libraryResult result:(vector liteServer.libraryEntry) = liteServer.LibraryResult")
@dataclass(frozen=True, slots=True)
class LibraryResult:
    result: tuple[LibraryEntry, ...]
