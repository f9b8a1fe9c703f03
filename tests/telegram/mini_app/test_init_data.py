"""What Telegram says of who opened a Mini App is believed if it is signed, whole and fresh, else not."""

import json
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import ConfigurationError, MalformedMessage, RecordRejected
from cocoon_p2p.telegram.mini_app import (
    TEST_KEY,
    MiniAppChat,
    MiniAppUser,
    bot_id_of,
    check_init_data,
    check_third_party_init_data,
)
from cocoon_p2p.telegram.mini_app.init_data import FIELDS_MAX, SIZE_MAX_BYTES
from tests.payments.wallets import NOW
from tests.telegram.mini_app.scene import TOKEN, init_data, signed

# Telegram's own, for a bot of the authors of Telegram-Mini-Apps/telegram-apps, in whose tests it stands.
REAL = (
    "user=%7B%22id%22%3A279058397%2C%22first_name%22%3A%22Vladislav%20%2B%20-%20%3F%20%5C%2F%22%2C%22last_name"
    "%22%3A%22Kibenko%22%2C%22username%22%3A%22vdkfrost%22%2C%22language_code%22%3A%22ru%22%2C%22is_premium%22"
    "%3Atrue%2C%22allows_write_to_pm%22%3Atrue%2C%22photo_url%22%3A%22https%3A%5C%2F%5C%2Ft.me%5C%2Fi%5C%2Fuse"
    "rpic%5C%2F320%5C%2F4FPEE4tmP3ATHa57u6MqTDih13LTOiMoKoLDRG4PnSA.svg%22%7D&chat_instance=813472220031428115"
    "1&chat_type=private&auth_date=1733584787&signature=zL-ucjNyREiHDE8aihFwpfR9aggP2xiAo3NSpfe-p7IbCisNlDKlo7"
    "Kb6G4D0Ao2mBrSgEk4maLSdv6MLIlADQ&hash=2174df5b000556d044f3f020384e879c8efcab55ddea2ced4eb752e93e7080d6"
)
REAL_AT, REAL_BOT = 1733584787, 7342037359
OTHER_TOKEN = "1:AAFZehRPBRs8Seg40oDjTMIW8uTGPuW1zfQ"


def without(text: str, *names: str) -> str:
    return urlencode(
        [(key, value) for key, value in parse_qsl(text, keep_blank_values=True) if key not in names]
    )


def test_what_telegram_has_really_signed_is_believed_by_its_hash() -> None:
    said = check_init_data(REAL, token=TOKEN, now=REAL_AT + 10)

    assert said.user == MiniAppUser(
        279058397,
        "Vladislav + - ? /",
        "Kibenko",
        "vdkfrost",
        "ru",
        "https://t.me/i/userpic/320/4FPEE4tmP3ATHa57u6MqTDih13LTOiMoKoLDRG4PnSA.svg",
        is_premium=True,
        allows_write_to_pm=True,
    )
    assert (said.chat_type, said.chat_instance, said.auth_date) == ("private", "8134722200314281151", REAL_AT)


def test_what_telegram_has_really_signed_is_believed_by_a_third_party() -> None:
    by_hash = check_init_data(REAL, token=TOKEN, now=REAL_AT)

    assert check_third_party_init_data(REAL, bot_id=REAL_BOT, now=REAL_AT) == by_hash


def test_it_is_read_whole() -> None:
    chat = json.dumps({"id": -5, "type": "group", "title": "Us", "username": "us"})
    receiver = json.dumps({"id": 7, "first_name": "Bo", "is_bot": True})
    text = init_data(start_param="ref_1", can_send_after="30", chat=chat, receiver=receiver)

    said = check_init_data(text, token=TOKEN, now=NOW)

    assert said.chat == MiniAppChat(-5, "group", "Us", "us")
    assert said.receiver == MiniAppUser(7, "Bo", is_bot=True)
    assert (said.start_param, said.query_id, said.can_send_after_seconds) == ("ref_1", "AAE", 30)


def test_a_mini_app_may_be_opened_by_nobody_in_particular() -> None:
    fields = {"auth_date": str(NOW), "start_param": ""}

    said = check_init_data(signed(fields), token=TOKEN, now=NOW)

    assert (said.user, said.receiver, said.chat, said.start_param) == (None, None, None, "")


def test_a_user_may_have_nothing_but_an_id() -> None:
    said = check_init_data(init_data(user='{"id":1}'), token=TOKEN, now=NOW)

    assert said.user == MiniAppUser(1, "")


@pytest.mark.parametrize("token", [OTHER_TOKEN, TOKEN + "A"])
def test_another_bots_token_does_not_fit(token: str) -> None:
    with pytest.raises(RecordRejected, match="hash does not fit"):
        check_init_data(init_data(), token=token, now=NOW)


@pytest.mark.parametrize(("bot", "key"), [(REAL_BOT + 1, None), (REAL_BOT, TEST_KEY)])
def test_another_bot_or_telegrams_other_servers_do_not_fit(bot: int, key: bytes | None) -> None:
    keys = {} if key is None else {"key": key}

    with pytest.raises(RecordRejected, match="signature does not fit"):
        check_third_party_init_data(REAL, bot_id=bot, now=REAL_AT, **keys)


@given(st.data())
def test_no_letter_of_it_can_be_changed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(REAL) - 1))
    letter = data.draw(st.sampled_from("abcdefABCDEF0123456789%&=-_ "))
    altered = REAL[:at] + letter + REAL[at + 1 :]
    same = sorted(parse_qsl(altered)) == sorted(parse_qsl(REAL))

    for check in (
        lambda: check_init_data(altered, token=TOKEN, now=REAL_AT),
        lambda: check_third_party_init_data(altered, bot_id=REAL_BOT, now=REAL_AT),
    ):
        try:
            said = check()
        except (MalformedMessage, RecordRejected):
            continue
        # Each form leaves out the other's mark, or what the letter spells is the same.
        assert same or said == check_init_data(REAL, token=TOKEN, now=REAL_AT)


@given(st.one_of(st.text(max_size=300), st.text('abc=&%0123456789_\n{}[]"', max_size=300)))
def test_whatever_comes_is_refused_without_being_repeated(text: str) -> None:
    for check in (
        lambda: check_init_data(text, token=TOKEN, now=NOW),
        lambda: check_third_party_init_data(text, bot_id=1, now=NOW),
    ):
        with pytest.raises((MalformedMessage, RecordRejected)) as caught:
            check()
        assert len(str(caught.value)) < 160


@given(
    st.dictionaries(st.sampled_from(["user", "chat", "receiver", "can_send_after"]), st.text(max_size=80)),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), st.lists, max_leaves=8),
)
def test_what_is_signed_and_makes_no_sense_is_refused_all_the_same(
    texts: dict[str, str], junk: object
) -> None:
    fields = {key: value for key, value in texts.items() if value.isprintable()}
    fields.setdefault("user", json.dumps(junk))

    try:
        said = check_init_data(init_data(**fields), token=TOKEN, now=NOW)
    except MalformedMessage:
        return
    assert said.user is not None


@pytest.mark.parametrize("said", ['{"id":true}', '{"id":0}', '{"id":1.5}', '{"id":"1"}', "[]", "1" * 30, "["])
def test_a_user_has_an_id_of_52_bits(said: str) -> None:
    with pytest.raises(MalformedMessage):
        check_init_data(init_data(user=said), token=TOKEN, now=NOW)


@pytest.mark.parametrize("late", [-61, 3601])
def test_it_is_good_for_an_hour(late: int) -> None:
    with pytest.raises(RecordRejected, match="its time"):
        check_init_data(init_data(), token=TOKEN, now=NOW + late)


@pytest.mark.parametrize("late", [-60, 3600])
def test_it_is_good_until_then(late: int) -> None:
    assert check_init_data(init_data(), token=TOKEN, now=NOW + late).auth_date == NOW


@pytest.mark.parametrize("name", ["hash", "auth_date"])
def test_it_needs_a_hash_and_a_date(name: str) -> None:
    with pytest.raises((MalformedMessage, RecordRejected)):
        check_init_data(without(init_data(), name), token=TOKEN, now=NOW)


def test_a_field_that_comes_twice_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="twice"):
        check_init_data(init_data() + "&query_id=AAE", token=TOKEN, now=NOW)


def test_fields_cannot_be_folded_into_one_with_the_same_text() -> None:
    # Both sets have the same lines, so the same hash: one of them must not be read.
    text = init_data()
    fields = dict(parse_qsl(text))
    folded = {
        "auth_date": f"{fields['auth_date']}\nquery_id={fields['query_id']}\nuser={fields['user']}",
        "hash": fields["hash"],
    }

    with pytest.raises(MalformedMessage, match="line break"):
        check_init_data(urlencode(folded), token=TOKEN, now=NOW)


def test_too_much_is_refused_before_it_is_read() -> None:
    many = "&".join(f"f{number}=1" for number in range(FIELDS_MAX + 1))

    for text in ("user=" + "x" * SIZE_MAX_BYTES, many, "user=" + quote("é") + "é"):
        with pytest.raises(MalformedMessage):
            check_init_data(text, token=TOKEN, now=NOW)


def test_a_bots_id_is_read_off_its_token() -> None:
    assert bot_id_of(TOKEN) == REAL_BOT


@pytest.mark.parametrize("token", ["", "abc", ":x", "12", "12:", "12:secret", "12x:secret"])
def test_what_is_no_token_is_not_repeated(token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bot_id_of(token)
    # Init data that somebody signs with nothing, for a backend whose token's file is empty.
    with pytest.raises(ConfigurationError):
        check_init_data(init_data(token=token), token=token, now=NOW)

    assert "secret" not in str(caught.value)
