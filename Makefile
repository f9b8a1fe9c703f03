# `make demo` and `make test` do all the set-up. They need make, Python 3.11 to 3.13 with venv,
# libgomp, and a package index once.
PYTHON ?= python3
ROUNDS ?= 3
VENV ?= .venv
BIN := $(VENV)/bin
PYRIGHT := .venv-pyright
EXLLAMA := .venv-exllama
SPEECH := .venv-speech
PEERS := .venv-bench
DOCS := .venv-docs
STAMP := $(VENV)/.installed
# A test that hangs is a failed test, and says where it hung.
PYTEST := $(BIN)/python -m pytest -q --timeout=300
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

.PHONY: help setup demo docs test test-slow test-peers test-exllama test-gpu test-speech test-nat test-chaos fuzz check soak losses sim market bench bench-peers contract contract-tools interop-peer lock dist clean
help:
	@echo 'make setup   the command cocoon, in .venv'
	@echo 'make demo    a whole paid network on this machine, and one answer from it'
	@echo 'make test    the tests'
	@echo 'make sim     whole networks under trouble: make sim SEEDS=1000'
	@echo 'make market  which worker is chosen among thousands, against other rules: docs/simulation.md'
	@echo 'make check   types, style, import floors, the docs site'
	@echo 'make docs    the docs site, in build/site'
	@echo 'make bench   the figures, each against a peer in the same run'

setup: $(STAMP)
	@echo 'cocoon is set up in $(VENV). In this terminal: . $(VENV)/bin/activate'
demo: $(STAMP)
	$(BIN)/cocoon demo
test: $(STAMP)
	$(PYTEST) -n auto --maxprocesses=4 --dist=worksteal -m 'not long' --ignore=tests/interop --ignore=tests/attacks --ignore=tests/nat
# Some minutes, so not part of `make test`: lives that end wherever they can be ended, and each fault that can
# be planted in the contract must be found.
test-slow: test-peers test-nat test-chaos
	$(PYTEST) -m long --ignore=tests/interop --ignore=tests/attacks --ignore=tests/nat --ignore=tests/chaos
	$(BIN)/python -m tests.payments.contract.planted_faults
# Peers that others wrote (skipped where they are missing: make interop-peer), and peers that mean harm.
test-peers: $(STAMP)
	$(PYTEST) tests/interop tests/attacks
# The ExLlamaV2 engine on that library's own Python code, without a card. Its environment takes five gigabytes.
test-exllama: $(EXLLAMA)/.installed
	$(EXLLAMA)/bin/python -m pytest -q tests/exllama
# The same on an NVIDIA card, with its CUDA toolkit, and what it costs. Without a card it says so, and fails nothing.
test-gpu: $(EXLLAMA)/.installed
	COCOON_TEST_ON_CARD=1 $(EXLLAMA)/bin/python -m pytest -q tests/exllama
	$(EXLLAMA)/bin/python benchmarks/engine.py
# The Whisper engine, with weights that mean nothing. Its libraries take 330 MB.
test-speech: $(SPEECH)/.installed
	$(SPEECH)/bin/python -m pytest -q tests/speech
# New cases for every property and every machine, ROUNDS times. The gate tries the same ones each time.
fuzz: $(STAMP)
	for round in $$(seq $(ROUNDS)); do HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -q -m hypothesis || exit 1; done
# Nodes in networks of this machine's own, behind routers of all kinds (skipped without root and nftables).
test-nat: $(STAMP)
	$(PYTEST) tests/nat
# A whole network of processes that are killed, stopped, parted, misdated and out of disk in mid answer.
test-chaos: $(STAMP)
	$(PYTEST) tests/chaos
check: $(STAMP) $(PYRIGHT)/.installed docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYRIGHT)/bin/pyright
	$(BIN)/lint-imports --no-cache
# Strict: a link that leads nowhere is an error. Nothing is fetched; to read it: python3 -m http.server -d build/site
docs: $(STAMP) $(DOCS)/.installed
	$(BIN)/python docs/site/stage.py build/docs
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --clean
# A network of processes under mixed load for as long as you like: no node's memory may grow.
MINUTES ?= 20
soak: $(STAMP)
	$(BIN)/python -m tests.soak --minutes $(MINUTES)
# Whoever answers is killed, again and again: the text is the undisturbed one, the bill by the rule. Then some
# workers that fall silent, and some proxies.
LOSSES ?= 200
losses: $(STAMP)
	$(BIN)/python -m tests.failover --losses $(LOSSES)
	$(BIN)/python -m tests.failover --losses $$(($(LOSSES) / 10)) --stop
	for workers in shared separate; do $(BIN)/python -m tests.failover --losses $$(($(LOSSES) / 10)) --proxies $$workers || exit 1; done
# Whole networks under trouble, one for each seed: a seed that does not hold says how to run it again.
SEEDS ?= 20
sim: $(STAMP)
	$(BIN)/python -m cocoon_p2p.testing.simulation --seeds $(SEEDS)
# A market of thousands under each rule of choosing: fills docs/simulation.md anew, in some minutes of one core.
market: $(STAMP)
	$(BIN)/python -m cocoon_p2p.testing.market docs/simulation.md
bench: $(STAMP)
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# The gateways of others that benchmarks/gateway.py stands ours beside; it says so where they are missing. 700 MB.
bench-peers: $(STAMP) $(PEERS)/.installed

# The lock is complete, so pip need not resolve: --no-deps lets fastecdsa differ from libp2p's pin.
$(STAMP): requirements.lock pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo 'Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo 'The venv module is missing. Debian, Ubuntu: apt install python3-venv'; exit 1; }
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || test "$$(uname)" != Linux || { echo 'libgomp.so.1 is missing. Debian, Ubuntu: apt install libgomp1'; exit 1; }
	@echo 'Setting up $(VENV) (once, about a minute) ...'
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) uv==0.13.8 && UV_SYSTEM_CERTS=1 UV_NO_CONFIG=1 $(BIN)/uv pip install -q --python $(BIN)/python --no-deps --require-hashes -r requirements.lock \
	  || { echo 'uv did not get through; trying pip (slower) ...'; $(PIP) --no-deps --require-hashes -r requirements.lock; }
	$(PIP) --no-deps --no-build-isolation -e .
	@# trio ships its own types; the old stubs that libp2p's trio-typing brings would shadow them.
	@rm -rf $(VENV)/lib/python3*/site-packages/trio-stubs
	@touch $@

# 200 MB that only a checker needs, so it has a lock and a place of its own.
$(PYRIGHT)/.installed: requirements-pyright.lock
	$(PYTHON) -m venv --clear $(PYRIGHT)
	UV_SYSTEM_CERTS=1 UV_NO_CONFIG=1 $(BIN)/uv pip install -q --python $(PYRIGHT)/bin/python --no-deps --require-hashes -r requirements-pyright.lock \
	  || $(PYRIGHT)/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-pyright.lock
	@touch $@

$(DOCS)/.installed: requirements-docs.lock
	$(PYTHON) -m venv --clear $(DOCS)
	UV_SYSTEM_CERTS=1 UV_NO_CONFIG=1 $(BIN)/uv pip install -q --python $(DOCS)/bin/python --no-deps --require-hashes -r requirements-docs.lock \
	  || $(DOCS)/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-docs.lock
	@touch $@

$(EXLLAMA)/.installed: requirements-exllama.lock
	$(PYTHON) -m venv --clear $(EXLLAMA)
	$(EXLLAMA)/bin/python -m pip install -q --disable-pip-version-check uv==0.13.8
	UV_SYSTEM_CERTS=1 UV_NO_CONFIG=1 $(EXLLAMA)/bin/uv pip install -q --python $(EXLLAMA)/bin/python --no-deps --require-hashes -r requirements-exllama.lock
	$(EXLLAMA)/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -rf $(EXLLAMA)/lib/python3*/site-packages/trio-stubs
	@touch $@

$(SPEECH)/.installed: requirements-speech.lock
	$(PYTHON) -m venv --clear $(SPEECH)
	$(SPEECH)/bin/python -m pip install -q --disable-pip-version-check uv==0.13.8
	UV_SYSTEM_CERTS=1 UV_NO_CONFIG=1 $(SPEECH)/bin/uv pip install -q --python $(SPEECH)/bin/python --no-deps --require-hashes -r requirements-speech.lock
	$(SPEECH)/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -rf $(SPEECH)/lib/python3*/site-packages/trio-stubs
	@touch $@

$(PEERS)/.installed: requirements-bench.lock
	$(PYTHON) -m venv --clear $(PEERS)
	UV_SYSTEM_CERTS=1 UV_NO_CONFIG=1 $(BIN)/uv pip install -q --python $(PEERS)/bin/python --no-deps --require-hashes -r requirements-bench.lock \
	  || $(PEERS)/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.lock
	@touch $@

# The contract's compiler, and a second machine for the tests to compare with. Needs Node and npm, once.
contract-tools:
	cd payments/contract/build && npm ci --silent
# js-libp2p and go-libp2p's daemon, for tests/interop. The first needs Node 20 and npm, once.
interop-peer: $(STAMP)
	$(BIN)/python tests/interop/go/fetch.py
	cd tests/interop/peer && npm ci --silent
contract: contract-tools
	cd payments/contract && node build/compile.js channel.tolk channel.boc > code-hash.txt
	cp payments/contract/channel.boc cocoon_p2p/payments/channel.boc

lock:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev --extra demo --extra postgres --extra upstream --extra gateway --extra telegram --extra page --extra otel pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group exllama --extra exllama pyproject.toml -o requirements-exllama.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group speech --extra speech pyproject.toml -o requirements-speech.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group docs -o requirements-docs.lock
	echo hatchling | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra demo --extra postgres --extra upstream --extra gateway --extra page --extra otel -c requirements.lock pyproject.toml - -o deploy/docker/requirements.lock
	echo 'pyright[nodejs]' | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate - -o requirements-pyright.lock
	printf 'litellm[proxy]\nsglang-router\n' | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate - -o requirements-bench.lock
dist: $(STAMP)
	rm -rf dist && $(BIN)/python -m build -q --no-isolation
clean:
	rm -rf $(VENV) $(PYRIGHT) $(EXLLAMA) $(SPEECH) $(PEERS) $(DOCS) dist build
