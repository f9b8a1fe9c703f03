"""The code that the package deploys is what the source compiles to."""

import json

import pytest

from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.contract import CODE_HASH, code
from tests.payments.contract.compiler import BUILD, CONTRACT, SOURCE, compile_tolk, missing, run_node


def test_the_package_carries_the_code_that_was_built():
    assert code() == (CONTRACT / "channel.boc").read_bytes()


def test_the_code_has_the_hash_that_is_published():
    assert read_one(code()).hash == CODE_HASH
    assert (CONTRACT / "code-hash.txt").read_text().strip() == CODE_HASH.hex()


@pytest.mark.slow
def test_the_source_compiles_to_that_code():
    if missing():
        pytest.skip(missing())

    assert compile_tolk(SOURCE) == [code()]


@pytest.mark.slow
def test_another_compiler_is_refused(tmp_path):
    if missing():
        pytest.skip(missing())
    # Beside another pin, the compiler that is there is the wrong one.
    script = tmp_path / "compile.js"
    script.write_text((BUILD / "compile.js").read_text())
    (tmp_path / "node_modules").symlink_to(BUILD / "node_modules")
    (tmp_path / "package.json").write_text(json.dumps({"dependencies": {"@ton/tolk-js": "1.3.0"}}))

    with pytest.raises(AssertionError, match=r"the compiler is 1\.0\.0, not 1\.3\.0"):
        run_node(str(script), str(SOURCE), str(tmp_path / "out.boc"))


def test_the_tools_are_pinned_by_content_and_not_by_where_they_were_fetched():
    packages = json.loads((BUILD / "package-lock.json").read_text())["packages"]

    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all("integrity" in package for name, package in packages.items() if name)
    pinned = packages[""]["dependencies"] | packages[""]["devDependencies"]
    assert all(packages[f"node_modules/{name}"]["version"] == version for name, version in pinned.items())
