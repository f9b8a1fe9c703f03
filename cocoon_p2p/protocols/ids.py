"""Protocol ids, closed lists and limits: every number that two nodes must agree on, with its reason.

Spec: protocols/README.md. A limit or a code changes only together with the protocol's version.
"""

from enum import IntEnum

EXCHANGE = "/cocoon/exchange/1"
"Inference exchanges, one after another: client to proxy, proxy to worker."

CHANNEL = "/cocoon/channel/1"
"Money: vouchers and signed states, payer to payee, one stream for each open channel."

SESSION = "/cocoon/session/1"
"A worker's standing with a proxy: record, load, drain, heartbeat."

EVIDENCE = "/cocoon/evidence/1"
"Attestation: who is at the other end of a connection, and evidence by its hash."

# Frames

FRAME_SIZE_MAX_BYTES = 256 * 1024
"A whole prompt of 32,000 tokens fits; a peer can make us hold no more than this for a stream."

FRAME_SIZE_MAX_NEWCOMER_BYTES = 16 * 1024
"Before a peer has credit or was attested: an Ask, a record and a statement fit with room to spare."

PART_SIZE_MAX_BYTES = 192 * 1024
"Sealed bytes in one part of a request: a frame less its envelope, in round numbers."

PARTS_MAX = 64
"12 MiB a request: some minutes of compressed speech or a few pictures."

CHUNK_SIZE_MAX_BYTES = 64 * 1024
"Sealed bytes of one piece of an answer."

SEAL_SIZE_BYTES = 16
"What sealing adds to a plain text: the tag of XChaCha20-Poly1305."

PART_PLAIN_MAX_BYTES = PART_SIZE_MAX_BYTES - SEAL_SIZE_BYTES
REQUEST_TEXT_MAX_BYTES = 4 * 1024 * 1024
"One text inside a sealed request: a million tokens, the longest context that is sold today."

ANSWER_TEXT_MAX_BYTES = 60 * 1024
"Text of one piece of an answer: what fits a chunk, padded and sealed, in round numbers."

CHAT_MESSAGES_MAX = 4096
"Turns of one chat; a year of daily talk."

STOP_MAX = 16
"Stop strings of one request; OpenAI allows 4."

STOP_STRING_MAX_BYTES = 256

# What a request may wish for beyond text, and what an answer then carries

CONSTRAINT_MAX_BYTES = 64 * 1024
"A JSON Schema, a regular expression or a grammar: engines compile it before the first token."

TOOLS_MAX = 128
"Functions that a model may ask for; OpenAI's limit."

TOOL_NAME_MAX_BYTES = 64
"OpenAI's limit."

TOOL_TEXT_MAX_BYTES = 16 * 1024
"A tool's description, and the JSON Schema of its arguments. They are part of the prompt: few need 1 KB."

TOOLS_SIZE_MAX_BYTES = 256 * 1024
"All tools of a request together: more would fill the context of most models."

CALLS_MAX = 64
"Tool calls of one message. Models make one or a few at a time."

CHAT_CALLS_MAX = 4096
"Tool calls that a chat looks back on: one a turn. They are read one by one, and nobody has paid yet."

CALL_ID_MAX_BYTES = 64
"Engines make ids of 9 to 40 characters."

ARGUMENTS_MAX_BYTES = 32 * 1024
"Of one tool call, as JSON: it must fit a chunk whole."

CALLS_SIZE_MAX_BYTES = 1024 * 1024
"Arguments of all calls that a chat looks back on: whoever reads them must not be held up by it."

JSON_DEPTH_MAX = 32
"Of schemas and arguments. OpenAI takes five; what recurses over them must not run out of stack."

LOGIT_BIAS_MAX = 1024
"Tokens whose logits are changed; OpenAI takes some hundreds."

LOGIT_BIAS_NONE_MILLI = 100_000
"How 0 is spelled, since the protocol has no negative numbers: 0 is -100 and 200,000 is 100."

PENALTY_NONE_MILLI = 2_000
"The same of a penalty: 0 is -2 and 4,000 is 2."

BANNED_MAX = 128
"Strings that an answer must not hold: every step looks for all of them."

BANNED_STRING_MAX_BYTES = 256

LOGPROBS_MAX = 20
"Likeliest tokens at each place; OpenAI's limit."

LOGPROB_TOKEN_MAX_BYTES = 512
"A token's text: the longest known are some hundred spaces."

LOGPROB_MICRO_MAX = 9_999_000_000
"Millionths of a nat below certainty. 9,999 nats stand for what cannot be, as in OpenAI's answers."

INPUTS_MAX = 2048
"Texts of one request to embed; OpenAI's limit."

VECTOR_MAX_BYTES = 32 * 1024
"An embedding of 8,192 numbers of four bytes: twice the longest in wide use, and half a chunk."

CARRIED_MAX = 4096
"Calls, logprobs or vectors in one piece of an answer: more than fit a chunk."

IMAGES_MAX = 16
"Pictures in one request."

IMAGE_MAX_BYTES = 8 * 1024 * 1024
"A picture as a camera makes it."

IMAGE_PIXELS_MAX = 50_000_000
"A camera's largest. A small file may unfold to much more, in the memory of whoever opens it."

AUDIO_MAX_BYTES = 11 * 1024 * 1024
"A recording, with room for all the rest of its request: six minutes of 16 kHz WAV, an hour of Opus."

LANGUAGE_MAX_BYTES = 16
"ISO 639-1 has two letters; some engines know longer names."

# Evidence (attestation)

EVIDENCE_SIZE_MAX_BYTES = 192 * 1024
"Evidence as a whole: a quote, a log and eight GPUs, inside one frame."

TD_QUOTE_SIZE_MAX_BYTES = 16 * 1024
"An Intel TDX quote with its certificates; they have about 5 KB."

EVENTS_MAX = 64
"Events that a measured boot logs; dstack logs about ten."

EVENT_PAYLOAD_MAX_BYTES = 2048
EVENT_NAME_MAX_BYTES = 64
GPUS_MAX = 8
"GPUs of one machine."

GPU_REPORT_SIZE_MAX_BYTES = 8 * 1024
"An SPDM exchange with 64 measurements has about 4 KB."

GPU_CHAIN_SIZE_MAX_BYTES = 8 * 1024
"Five certificates in PEM; about 5 KB."

COLLATERAL_SIZE_MAX_BYTES = 64 * 1024
"Intel's lists for one kind of platform; about 16 KB."

# Receipts that stand alone

BUNDLE_CHUNKS_SIZE_MAX_BYTES = 4 * 1024 * 1024
"Sealed chunks that a client keeps of one answer: some 40,000 tokens, each in a chunk of its own."

BUNDLE_CHUNKS_MAX = 64 * 1024
"As many as fit: a sealed chunk has 80 bytes at least."

BUNDLE_SIZE_MAX_BYTES = 12 * 1024 * 1024
"The chunks, a signed usage with each (some 130 bytes at most), the papers and the evidence."

# Names and lists

NAME_MAX_BYTES = 96
"Model names such as `Qwen2.5-Coder-32B-Instruct-exl2-4.65bpw` are about half as long."

TEXT_MAX_BYTES = 512
"Explanations for people, in refusals and failures."

ADDRESSES_MAX = 8
ADDRESS_MAX_BYTES = 256
MODELS_MAX = 64
FEATURES_MAX = 32
PEERS_MAX = 32
"Workers preferred or excluded in one Ask, and candidates named in one refusal."

WHYS_MAX = 32
"Reasons why it was not chosen that a worker is told at once: there are fewer, and some may come later."

CHANCES_SECONDS = 30.0
"How often a worker is told what became of its chances, at most."

RUNNING_MAX = 1024
"Exchanges that run at once on one channel."

PAPER_SIZE_MAX_BYTES = 64 * 1024
"The body of anything signed: a channel state with RUNNING_MAX exchanges, twice over."

RECORD_BODY_MAX_BYTES = 12 * 1024
"A record fits a newcomer's frame together with its statement, or inside a quote or a refusal."

RECORD_SIZE_MAX_BYTES = 1024
"A proxy's record in the DHT; a longer catalogue goes by hash."

PROXY_SHARDS = 16
"DHT keys that proxies are spread over: no one node, nor one lookup, holds the whole list."

# Times

RECORD_LIFETIME_MAX_SECONDS = 3600
"A record that a node published just before it vanished misleads for an hour at most."

STATEMENT_LIFETIME_MAX_SECONDS = 24 * 3600
"A key statement is what a quote of the hardware binds; hardware is asked once a day."

CLOCK_SKEW_SECONDS = 60
"Dates further ahead than this are refused."

QUOTE_LIFETIME_SECONDS = 30
RESERVATION_SECONDS = 5
"How long a proxy holds a slot for a quote that nobody uses."

HEARTBEAT_SECONDS = 1.0
HEARTBEATS_MISSED_MAX = 3
"A hop with work in it that is silent for this many heartbeats is lost."

ENGINE_STALL_SECONDS = 30.0
"An engine that made no step for this long has failed (a step of a long prefill is a step)."

COVER_SECONDS = 10.0
"How long a payee holds work back for credit: a voucher needs a round trip and two disk writes."

PART_SECONDS = 10.0
"How long a worker keeps a slot for the next part of a request (a full one needs 160 kbit/s)."

TAKE_SECONDS = 20.0
"How long a peer may leave a chunk unread: it may itself wait COVER_SECONDS for credit, and its peer too."

CHUNK_TOKENS = 8
CHUNK_SECONDS = 0.01
"Tokens that come within this time of the last chunk travel together, up to so many; the first never waits."

METER_TOKENS = 32
METER_SECONDS = 0.5
"A worker signs its Meter after this many tokens or this long, whichever comes first."

DEADLINE_MAX_SECONDS = 3600
"The longest deadline that counts, so that every exchange ends and its id can be forgotten some day."

EXCHANGE_KEPT_SECONDS = 600
"After its deadline an exchange id is remembered this long, so that it can never charge twice."

SEALING_SESSION_SECONDS = 900
REPLAY_WINDOW = 1024
"Request numbers of one sealing session that may arrive out of order."

SESSIONS_MAX = 1000
"Sealing sessions that a worker keeps for one proxy."

HELLOS_PER_SECOND = 10
"Sealing handshakes (0.4 ms of CPU each) that a worker does for one proxy."

UNCLAIMED_RESERVATIONS_MAX = 4
"A client's quotes that hold a slot and are not used yet."

NETWORK_SIZE_BYTES = 32
EXCHANGE_ID_SIZE_BYTES = 16
SESSION_ID_SIZE_BYTES = 16


class Role(IntEnum):
    CLIENT = 1
    PROXY = 2
    WORKER = 3
    BOOTSTRAP = 4


class Kind(IntEnum):
    """What is asked of a model."""

    CHAT = 1
    COMPLETION = 2
    EMBEDDING = 3
    "One vector for each input. It counts no completion tokens, and asks for none."

    TRANSCRIPTION = 4

    def serves(self, asked: "Kind") -> bool:
        """Say whether a model that is offered for this kind also does that one: what chats also completes."""
        return asked is self or (self, asked) == (Kind.CHAT, Kind.COMPLETION)


class Trust(IntEnum):
    """What must be proven about a worker's machine. SIM is a stand-in for demos, never in an order."""

    OPEN = 1
    "Nothing is proven: a worker without a trusted execution environment."

    SIM = 2
    "Simulated evidence, insecure, for demos and tests."

    TDX = 3
    "An Intel TDX domain runs the published image, with a CPU engine inside."

    TDX_GPU = 4
    "The same, with an attested GPU."

    def __str__(self) -> str:
        """Spell it the way it is asked for: `open`, `tdx+gpu`."""
        return self.name.lower().replace("_", "+")


class Preference(IntEnum):
    """What counts more where price and time cannot both be had; without one they count alike."""

    CHEAP = 1
    FAST = 2


class Outcome(IntEnum):
    """How an exchange ended; it decides who pays for what (protocols/exchange.md)."""

    COMPLETED = 1
    CANCELLED = 2
    "By the client, or because the client vanished: prefilled prompt and delivered tokens are owed."

    FAILED = 3
    "By worker or proxy: delivered tokens are owed, the prompt is not."


class Why(IntEnum):
    """Why a worker was not chosen, as its proxy tells it. One that came later is shown as a number."""

    DEARER_THAN_ASKED = 1
    "Its price is above what the client allows."

    OTHERS_CHEAPER = 2
    OTHERS_QUICKER = 3
    OTHERS_TRUER = 4
    "Others broke their word less often."

    DRAINING = 5
    RESTING = 6
    "It was lost or failed lately."

    CANARY = 7
    "It answered what the proxy asked for its own sake late, emptily or otherwise than others."

    TRUST = 8
    "The client asks for more than is proven of its machine."

    FULL = 9
    UNFIT = 10
    "Weights, kind, context or features are others than what was asked."

    EXCLUDED = 11
    "The client does not want it."

    LOT = 12
    "It was as good as the one that was chosen; lots were drawn."

    SILENT = 13
    "It told no load, or its papers ran out."

    ANOTHER_NAMED = 14
    "The client named another."

    @property
    def code(self) -> str:
        """The word that programs read: `others-quicker`."""
        return self.name.lower().replace("_", "-")


class Reason(IntEnum):
    """Why a peer says no, or why an exchange broke. The name in lower case is the error's code."""

    UNKNOWN_MODEL = 1
    NO_CAPACITY = 2
    PRICE_ABOVE_LIMIT = 3
    TRUST_BELOW_REQUEST = 4
    NO_CREDIT = 5
    CHANNEL_UNKNOWN = 6
    STALE = 7
    TOO_LARGE = 8
    DEADLINE = 9
    DRAINING = 10
    MALFORMED = 11
    RATE_LIMITED = 12
    ENGINE_FAILED = 13
    SESSION_UNKNOWN = 14
    CHAIN_UNREACHABLE = 15
    ALREADY_RUNNING = 16
    UNKNOWN_FEATURE = 17
    WRONG_NETWORK = 18
    EXCLUDED = 19
    UNKNOWN_EXCHANGE = 20
    WORKER_LOST = 21
    PROXY_LOST = 22
    CLIENT_LOST = 23
    CANCELLED = 24
    SEAL_BROKEN = 25
    UNSUPPORTED_KIND = 26
    OTHER_WEIGHTS = 27
    WRONG_AMOUNT = 28

    @property
    def code(self) -> str:
        """The reason as `errors.CocoonError.code` spells it: `no-capacity`."""
        return self.name.lower().replace("_", "-")
