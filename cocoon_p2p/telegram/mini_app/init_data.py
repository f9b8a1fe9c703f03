"""What Telegram says of who opened a Mini App, `initData`: judged, then read.

It is a query string with two signatures in it. `hash` is an HMAC under the bot's token: only who has the
token can check it, and could make it. `signature` is Telegram's own, by a key that everybody knows: it
tells a third party who opened which bot's Mini App, without the token.

Both are made over the fields' text, one `key=value` a line in the order of the keys. So that no two sets
of fields have the same text, a key is made of letters and a value has no line breaks.

No error repeats what was sent: it is as good as a password while it is fresh.

Spec: core.telegram.org/bots/webapps (Validating data received via the Mini App, and for third-party use).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl

from nacl import bindings
from nacl.exceptions import BadSignatureError

from cocoon_p2p.errors import ConfigurationError, MalformedMessage, RecordRejected
from cocoon_p2p.protocols.json_text import read_json_object

SIZE_MAX_BYTES = 16 * 1024
"Names of 64 letters, a picture's address and a start parameter of 512, each letter up to 12 bytes here."

FIELDS_MAX = 32
AGE_MAX_SECONDS = 3600.0
"How old it may be, unless said otherwise: a Mini App gets it when it opens, and shows it at once."

AHEAD_MAX_SECONDS = 60.0
"How far Telegram's clock may be ahead of ours."

PRODUCTION_KEY = bytes.fromhex("e7bf03a2fa4602af4580703d88dda5bb59f32ed8b02a56c187fe7d34caed242d")
TEST_KEY = bytes.fromhex("40055058a4ee38156a06562e52eece92a771bcd8346a8c4615cb7376eddf72ec")
"Telegram's own keys, as it published them: for everybody, and for its test servers."

_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HASH = re.compile(r"[0-9a-f]{64}")
_DATE = re.compile(r"[0-9]{1,12}")
_TOKEN = re.compile(r"([0-9]{1,16}):[A-Za-z0-9_-]{20,}")
"Telegram's have 35 letters. With none, say from a file that is empty, everybody could sign for everybody."

_ID_MAX = 1 << 52
"Telegram: ids have at most 52 significant bits."


@dataclass(frozen=True, slots=True)
class MiniAppUser:
    """Somebody with a Telegram account."""

    id: int
    first_name: str
    last_name: str = ""
    username: str = ""
    language_code: str = ""
    "IETF, such as `en`."

    photo_url: str = ""
    is_bot: bool = False
    is_premium: bool = False
    allows_write_to_pm: bool = False
    "Whether the bot may write to this user."


@dataclass(frozen=True, slots=True)
class MiniAppChat:
    """The chat from whose attachment menu a Mini App was opened."""

    id: int
    "Negative for groups and channels."

    type: str
    "`group`, `supergroup` or `channel`."

    title: str = ""
    username: str = ""


@dataclass(frozen=True, slots=True)
class InitData:
    """What was signed. Empty texts and None stand for what Telegram left out."""

    auth_date: int
    "When the Mini App was opened, in seconds since the Unix epoch."

    user: MiniAppUser | None
    receiver: MiniAppUser | None
    "The other in a private chat, from whose attachment menu it was opened."

    chat: MiniAppChat | None
    chat_type: str
    chat_instance: str
    "Names the chat that a direct link was opened from, without saying which one it is."

    start_param: str
    "What the link said: whoever made the link chose it."

    query_id: str
    "With it the bot can answer once, through `answerWebAppQuery`."

    can_send_after_seconds: int | None


def check_init_data(
    text: str, *, token: str, now: float, age_max_seconds: float = AGE_MAX_SECONDS
) -> InitData:
    """Judge what a Mini App of our own bot shows us.

    Args:
        text: `Telegram.WebApp.initData`, as it is.
        token: The bot's.
        now: Seconds since the Unix epoch.
        age_max_seconds: How long ago it may have been signed.

    Raises:
        MalformedMessage: It is too long, not a query string of such fields, or has a field twice.
        RecordRejected: It is not signed for this bot, was altered, or is too old.
        ConfigurationError: The token is none.
    """
    bot_id_of(token)
    fields = _fields(text)
    told = fields.pop("hash", "")
    if not _HASH.fullmatch(told):
        raise MalformedMessage("init data: no `hash` of 64 hexadecimal digits")
    secret = hmac.digest(b"WebAppData", token.encode(), hashlib.sha256)
    expected = hmac.digest(secret, _lines(fields), hashlib.sha256)
    if not hmac.compare_digest(expected, bytes.fromhex(told)):
        raise RecordRejected("init data: the hash does not fit (altered, or of another bot)")
    return _read(fields, now, age_max_seconds)


def check_third_party_init_data(
    text: str,
    *,
    bot_id: int,
    now: float,
    age_max_seconds: float = AGE_MAX_SECONDS,
    key: bytes = PRODUCTION_KEY,
) -> InitData:
    """Judge what a Mini App of somebody's bot shows us, by Telegram's signature.

    Args:
        text: `Telegram.WebApp.initData`, as it is.
        bot_id: The number that the bot's token begins with.
        now: Seconds since the Unix epoch.
        age_max_seconds: How long ago it may have been signed.
        key: `PRODUCTION_KEY`, or `TEST_KEY` for Telegram's test servers.

    Raises:
        MalformedMessage: As `check_init_data`.
        RecordRejected: It is not signed by Telegram for this bot, was altered, or is too old.
    """
    fields = _fields(text)
    fields.pop("hash", None)
    signature = _signature(fields.pop("signature", ""))
    message = f"{bot_id}:WebAppData\n".encode() + _lines(fields)
    try:
        bindings.crypto_sign_open(signature + message, key)
    except BadSignatureError:
        raise RecordRejected(
            "init data: the signature does not fit (altered, of another bot, or of Telegram's other servers)"
        ) from None
    return _read(fields, now, age_max_seconds)


def bot_id_of(token: str) -> int:
    """Read the bot's id off its token.

    Raises:
        ConfigurationError: It is no token. The text does not repeat it.
    """
    if (parts := _TOKEN.fullmatch(token)) is None:
        raise ConfigurationError(
            "not a bot's token", hint="copy it whole from @BotFather: it is NUMBER:LETTERS"
        )
    return int(parts[1])


# ---------------------------------------------------------------- the fields and their text


def _fields(text: str) -> dict[str, str]:
    """Take the query string apart, so that only one set of fields has the text that is signed."""
    if len(text) > SIZE_MAX_BYTES or not text.isascii():
        raise MalformedMessage(f"init data: longer than {SIZE_MAX_BYTES} bytes, or not ASCII")
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=FIELDS_MAX
        )
    except ValueError:
        # Its own message may quote the text.
        raise MalformedMessage(f"init data: not a query string of 1 to {FIELDS_MAX} fields") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedMessage("init data: a field comes twice")
    if not all(_KEY.fullmatch(key) and not _CONTROL.search(value) for key, value in pairs):
        raise MalformedMessage(
            "init data: a field's name, or a line break in it, that Telegram does not write"
        )
    return fields


def _lines(fields: Mapping[str, str]) -> bytes:
    return "\n".join(f"{key}={fields[key]}" for key in sorted(fields)).encode()


def _signature(text: str) -> bytes:
    try:
        signature = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if len(signature) != bindings.crypto_sign_BYTES:
        raise MalformedMessage("init data: no `signature` of 64 bytes in base64")
    return signature


# ---------------------------------------------------------------- what they mean


def _read(fields: Mapping[str, str], now: float, age_max_seconds: float) -> InitData:
    auth_date = _number(fields, "auth_date")
    if auth_date is None:
        raise MalformedMessage("init data: no `auth_date`")
    age = now - auth_date
    if not -AHEAD_MAX_SECONDS <= age <= age_max_seconds:
        raise RecordRejected(
            f"init data: its time has passed, or is to come (age={age:.0f} max={age_max_seconds:.0f} seconds)"
        )
    return InitData(
        auth_date=auth_date,
        user=_user(fields, "user"),
        receiver=_user(fields, "receiver"),
        chat=_chat(fields),
        chat_type=fields.get("chat_type", ""),
        chat_instance=fields.get("chat_instance", ""),
        start_param=fields.get("start_param", ""),
        query_id=fields.get("query_id", ""),
        can_send_after_seconds=_number(fields, "can_send_after"),
    )


def _number(fields: Mapping[str, str], name: str) -> int | None:
    text = fields.get(name)
    if text is None:
        return None
    if not _DATE.fullmatch(text):
        raise MalformedMessage(f"init data: `{name}` is no number")
    return int(text)


def _user(fields: Mapping[str, str], name: str) -> MiniAppUser | None:
    if name not in fields:
        return None
    said = read_json_object(f"init data: {name}", fields[name])
    return MiniAppUser(
        id=_id(said, name, least=1),
        first_name=_text(said, name, "first_name"),
        last_name=_text(said, name, "last_name"),
        username=_text(said, name, "username"),
        language_code=_text(said, name, "language_code"),
        photo_url=_text(said, name, "photo_url"),
        is_bot=said.get("is_bot") is True,
        is_premium=said.get("is_premium") is True,
        allows_write_to_pm=said.get("allows_write_to_pm") is True,
    )


def _chat(fields: Mapping[str, str]) -> MiniAppChat | None:
    if "chat" not in fields:
        return None
    said = read_json_object("init data: chat", fields["chat"])
    return MiniAppChat(
        id=_id(said, "chat", least=-_ID_MAX),
        type=_text(said, "chat", "type"),
        title=_text(said, "chat", "title"),
        username=_text(said, "chat", "username"),
    )


def _id(said: Mapping[str, Any], name: str, *, least: int) -> int:
    # What JSON may hold there, a truth value too, which Python takes for a number.
    value = cast("object", said.get("id"))
    if type(value) is not int or not least <= value <= _ID_MAX:
        raise MalformedMessage(f"init data: `{name}` has no id")
    return value


def _text(said: Mapping[str, Any], name: str, key: str) -> str:
    value = cast("object", said.get(key, ""))
    if not isinstance(value, str):
        raise MalformedMessage(f"init data: `{key}` of `{name}` is no text")
    return value
