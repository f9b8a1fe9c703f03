"""A config file is checked whole, and each mistake is shown where it stands."""

from pathlib import Path

import pytest

from cocoon_p2p.config import SLOTS_UNMEASURED, ClientFile, WorkerFile, load
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.strict_toml import ConfigurationMistakes

GOOD = """
[worker]
model = "demo"   # the built-in one

[network]
name = "local"
bootstrap = ["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooW"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "worker.toml"
    path.write_text(GOOD)
    return path


def mistakes_of(path: Path, text: str) -> ConfigurationMistakes:
    path.write_text(text)
    with pytest.raises(ConfigurationMistakes) as caught:
        load(WorkerFile, path, {})
    return caught.value


def test_what_is_not_written_has_its_default(file: Path) -> None:
    loaded = load(WorkerFile, file, {})

    assert loaded.settings.worker.model == "demo"
    assert loaded.settings.price.completion == "auto"
    assert loaded.data_directory == file.parent / "data"


def test_every_mistake_is_shown_at_once_where_it_stands(file: Path) -> None:
    wrong = mistakes_of(
        file,
        '[worker]\nmodle = "demo"\nslots = 0\n  threads = "four"\n\n'
        '[network]\nname = "Main Net"\n[prise]\nprompt = 1\n',
    )

    places = [(mistake.line, mistake.column) for mistake in wrong.mistakes]
    assert places == [(1, 1), (2, 1), (3, 1), (4, 3), (7, 1), (8, 1)]
    text = str(wrong)
    assert "`model` is missing in [worker]" in text
    assert "unknown key `modle` in [worker], did you mean `model`?" in text
    assert "unknown section [prise], did you mean `price`?" in text
    assert f'{file}:4:3: `threads`: expected `int`, got `str`\n      threads = "four"\n      ^' in text


def test_text_that_is_not_toml_is_shown_at_its_line(file: Path) -> None:
    wrong = mistakes_of(file, "[worker]\nmodel = demo\n")

    assert [(mistake.line, mistake.column) for mistake in wrong.mistakes] == [(2, 9)]


def test_a_missing_section_is_named(file: Path) -> None:
    wrong = mistakes_of(file, '[worker]\nmodel = "demo"\n')

    assert "section [network] is missing" in str(wrong)


def test_a_section_that_is_a_value_is_refused(file: Path) -> None:
    wrong = mistakes_of(file, 'worker = 3\n[network]\nname = "local"\n')

    assert "[worker] is a section, not a value" in str(wrong)


def test_a_negative_price_is_refused(file: Path) -> None:
    wrong = mistakes_of(file, GOOD + "[price]\nprompt = -1\n")

    assert "`prompt`: expected `int` >= 0" in str(wrong)


@pytest.mark.parametrize(
    ("price", "wrong"),
    [
        ('completion = "Auto"', "`completion`"),
        ("floor = 9\nceiling = 8", "the floor is above the ceiling (floor=9 ceiling=8)"),
        ("ceiling = 4_999", "the floor is above the ceiling (floor=5000 ceiling=4999)"),
        ('source = "https://a.example/"', "`source` without a `unit`"),
        ('unit = "usd"', "`pointer` is missing in [price]: a `unit` needs it"),
        ('unit = "usd"\nsource = "https://a.example/"\npointer = "/a"', "`floor` is missing in [price]"),
        ('unit = "usd"\nprompt = "auto"', "`prompt` must be a number"),
        ('unit = "usd"', "`completion` must be a number"),
        ('unit = "usd"\npointer = "rates"', "not a JSON Pointer"),
        ('unit = "usd"\npointer = "/a~2"', "not a JSON Pointer"),
        ('unit = "usd"\nsource = "http://a.example/"', "`source`"),
        ('unit = "usd"\nsource = "http://127.0.0.1.example/"', "`source`"),
        ('unit = "usd"\nsource = "file:///etc/passwd"', "`source`"),
        ('unit = "US$"', "`unit`"),
    ],
)
def test_prices_that_do_not_go_together_are_refused(file: Path, price: str, wrong: str) -> None:
    assert wrong in str(mistakes_of(file, GOOD + f"[price]\n{price}\n"))


@pytest.mark.parametrize("floor", ["4_000", "300_000"])
def test_prices_in_a_unit_with_all_that_they_need_are_taken(file: Path, floor: str) -> None:
    file.write_text(
        GOOD + '[price]\nunit = "usd"\nsource = "http://127.0.0.1:8080/ton"\npointer = "/a~1b/0"\n'
        f"prompt = 15\ncompletion = 60\nfloor = {floor}\n"
    )

    assert load(WorkerFile, file, {}).settings.price.unit == "usd"


def test_the_environment_overrides_the_file(file: Path) -> None:
    environment = {"COCOON_WORKER__MODEL": "other.gguf", "COCOON_PRICE__PROMPT": "7"}

    settings = load(WorkerFile, file, environment).settings

    assert settings.worker.model == "other.gguf"
    assert settings.price.prompt == 7


def test_a_mistake_in_the_environment_names_the_variable(file: Path) -> None:
    with pytest.raises(ConfigurationMistakes, match=r"COCOON_PRICE__PROMPT: `prompt`: expected `int` >= 0"):
        load(WorkerFile, file, {"COCOON_PRICE__PROMPT": "-7"})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*nowhere\.toml"):
        load(ClientFile, tmp_path / "nowhere.toml", {})


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "client.toml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(ClientFile, path, {})


def test_slots_are_a_number_or_auto(file: Path) -> None:
    file.write_text(GOOD.replace("[network]", 'slots = "auto"\n[network]'))
    assert load(WorkerFile, file, {}).settings.worker.slots_opened == SLOTS_UNMEASURED
    assert load(WorkerFile, file, {"COCOON_WORKER__SLOTS": "7"}).settings.worker.slots_opened == 7

    wrong = mistakes_of(file, GOOD.replace("[network]", 'slots = "many"\n[network]'))
    assert "`slots`: invalid enum value 'many'" in str(wrong)


SEVERAL = '[worker]\n[network]\nname = "local"\n[[model]]\nmodel = "demo"\n[[model]]\nmodel = "b.gguf"\n'


def test_a_worker_may_name_several_models_each_with_its_price(file: Path) -> None:
    file.write_text(SEVERAL + 'name = "b"\nprice_completion = 7\n')

    first, second = load(WorkerFile, file, {}).settings.model

    assert (first.model, first.price_completion) == ("demo", None)
    assert (second.model, second.name, second.price_completion) == ("b.gguf", "b", 7)


def test_a_mistake_in_one_of_several_models_is_shown_where_it_stands(file: Path) -> None:
    wrong = mistakes_of(file, SEVERAL + "price_competion = 7\n[[model]]\nmodel = 3\n")

    places = [(mistake.line, mistake.column) for mistake in wrong.mistakes]
    assert places == [(8, 1), (10, 1)]
    assert "did you mean `price_completion`?" in str(wrong)


def test_models_are_named_in_one_place(file: Path) -> None:
    wrong = mistakes_of(file, SEVERAL.replace("[worker]\n", '[worker]\nmodel = "demo"\nname = "x"\n'))

    assert [(mistake.line, mistake.column) for mistake in wrong.mistakes] == [(2, 1), (3, 1)]
    assert "`model` in [worker] beside [[model]]" in str(wrong)


@pytest.mark.parametrize("text", ['[model]\nmodel = "demo"\n', "model = 3\n", "model = [3]\n"])
def test_what_is_no_list_of_models_is_refused(file: Path, text: str) -> None:
    wrong = mistakes_of(file, f'{text}[worker]\n[network]\nname = "local"\n')

    assert "[[model]]" in str(wrong)


def test_a_misspelt_variable_is_a_mistake_where_its_section_is_ours(file: Path) -> None:
    with pytest.raises(ConfigurationMistakes, match=r"COCOON_WORKER__MODLE: .*did you mean `model`"):
        load(WorkerFile, file, {"COCOON_WORKER__MODLE": "demo"})

    assert load(WorkerFile, file, {"COCOON_PROXY__GRANT": "1", "COCOON_MODELS": "x"}).settings


@pytest.mark.parametrize(
    "line",
    ['api_key = "SECRET"', "api_key = SECRET", 'name = "http://me:SECRET@host" oops', "passphrase=SECRET"],
)
def test_what_looks_like_a_secret_is_not_echoed_with_a_mistake(file: Path, line: str) -> None:
    wrong = mistakes_of(file, GOOD.replace('model = "demo"', line))

    assert "SECRET" not in str(wrong)


def test_a_credential_is_looked_for_where_systemd_puts_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(GOOD + '[wallet]\npassphrase_file = "$CREDENTIALS_DIRECTORY/wallet"\n')
    loaded = load(WorkerFile, file, {})

    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/cocoon")
    assert loaded.resolve(loaded.settings.wallet.passphrase_file) == Path("/run/credentials/cocoon/wallet")

    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(ConfigurationError, match="there is no credential here"):
        loaded.resolve(loaded.settings.wallet.passphrase_file)
