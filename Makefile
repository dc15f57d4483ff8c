# Everything a user or contributor runs. Plain `make` says what there is.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
ARGS ?=
INSTALLED := $(VENV)/.installed
FOR_TESTS := $(VENV)/.installed-dev
LOCK := --quiet --universal --python-version 3.11 --no-header --no-annotate --upgrade

.DEFAULT_GOAL := help
.PHONY: help install run demo-dovecot test test-debian13 test-dovecot24 test-image check lint docs screenshots bench compare load torture overload soak profile instructions fuzz lock audit sbom clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv with tierproxy and its demo

run: $(INSTALLED) ## Start the proxy with an embedded S3 server and play mails through it (ARGS=--once to stop after that)
	@$(BIN)/tierproxy demo $(ARGS)

demo-dovecot: $(INSTALLED) ## As root, on Debian: a stock Dovecot keeps its mail in S3, step by step (ARGS=--keep keeps the logs)
	@tests/install-debian-packages.sh dovecot-core dovecot-imapd dovecot-lmtpd dovecot-pop3d fuse3
	@$(BIN)/tierproxy demo-dovecot $(ARGS)

WORKERS ?= 3
test: export PYTHONDONTWRITEBYTECODE :=# hundreds of programs are started: each would compile all of tierproxy again
test: $(FOR_TESTS) ## Install what the tests need and run them, by WORKERS=3 at once (ARGS=tests/config to run some)
	@tests/install-debian-packages.sh
	@tests/browser/install.sh
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) $(ARGS)

test-debian13: $(BIN)/pip ## As root: all tests on Debian 13 with its own Python, SQLite and Dovecot, in ./var/debian13 (made when missing)
	@PIP=$(CURDIR)/$(BIN)/pip tests/debian13.sh var/debian13 "$(ARGS)"

test-dovecot24: $(FOR_TESTS) ## As root: the tests with Dovecot 2.4, of a Debian trixie in ./var/dovecot24 (made when missing)
	@tests/dovecot/trixie.sh var/dovecot24
	@TEST_DOVECOT_ROOT=$(CURDIR)/var/dovecot24 $(BIN)/python -m pytest tests/dovecot tests/importing/test_import_dovecot.py $(ARGS)

test-image: $(FOR_TESTS) ## As root: build the image (in ./var/image, without an engine or a registry), and try a node in it
	@PIP=$(CURDIR)/$(BIN)/pip tests/image/build.sh var/image
	@TEST_IMAGE_ROOT=$(CURDIR)/var/image $(BIN)/python -m pytest tests/image -n 0 $(ARGS)

check: lint test ## What a contributor runs before a commit: format, lint, types, layers, tests (which hold the docs)

lint: $(FOR_TESTS) ## Format, lint, types and layers alone
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(FOR_TESTS) ## Write the generated documentation and config/tierproxy.toml again
	@env -i $(BIN)/tierproxy config describe --example > config/tierproxy.toml
	@env -i $(BIN)/tierproxy config describe --markdown > docs/configuration.md
	@$(BIN)/python -c 'from tierproxy.s3api.compatibility import compatibility_page; print(compatibility_page(), end="")' \
	  > docs/s3-compatibility.md

screenshots: $(FOR_TESTS) ## Take the pictures in docs/screenshots again, of a node of their own
	@tests/install-debian-packages.sh
	@tests/browser/install.sh
	@$(BIN)/python -m tests.browser.pictures docs/screenshots

bench: $(FOR_TESTS) ## Measure the store (ARGS for loadtests/bench_store.py)
	@$(BIN)/python loadtests/bench_store.py $(ARGS)

compare: $(FOR_TESTS) ## Measure tierproxy beside nginx, Varnish, rclone, JuiceFS and SeaweedFS (ARGS=--quick to see that it works)
	@$(BIN)/python loadtests/bench_compare.py $(ARGS)

load: $(FOR_TESTS) ## Mail behaviour with verdicts: morning inbox, burst, search, cold start, slow S3 (ARGS="slow-s3 --seconds 30")
	@$(BIN)/python loadtests/scenarios.py $(or $(ARGS),all)

torture: $(FOR_TESTS) ## Break everything around a node for five minutes (ARGS="--seconds 600 --seed 7"); as root it fills disks, too
	@$(BIN)/python loadtests/torture.py $(ARGS)

overload: $(FOR_TESTS) ## Floods, slow clients, 10,000 connections, a scan, misses beside hits: who pays for it (ARGS=--write)
	@$(BIN)/python loadtests/overload.py $(ARGS)

soak: $(FOR_TESTS) ## An hour of mixed load with mild faults: memory, descriptors and the queue stay flat (ARGS="--minutes 10")
	@$(BIN)/python loadtests/soak.py $(ARGS)

profile: $(FOR_TESTS) ## Flame graphs of a node under load, to ./var/profile (ARGS="hit-disk put" for some kinds)
	@$(BIN)/python loadtests/profile_node.py $(ARGS)

instructions: $(FOR_TESTS) ## Instructions of a hit, counted by callgrind, beside the recorded ones (ARGS=--record writes them)
	@tests/install-debian-packages.sh valgrind
	@$(BIN)/python loadtests/instructions.py $(ARGS)

SECONDS ?= 300
fuzz: $(FOR_TESTS) ## Parsers of what strangers write, for SECONDS=300; what is found wrong joins tests/security/corpus
	@$(BIN)/python -m tests.security.fuzz --seconds $(SECONDS) $(ARGS)

lock: $(FOR_TESTS) ## Lock the newest versions of what a release, its build and its tests are made of (release/*.txt)
	@$(BIN)/uv pip compile $(LOCK) $(ARGS) --generate-hashes --output-file release/requirements.txt pyproject.toml
	@$(BIN)/uv pip compile $(LOCK) $(ARGS) --generate-hashes --output-file release/build.txt release/build.in
	@$(BIN)/uv pip compile $(LOCK) $(ARGS) --all-extras --constraint release/requirements.txt --output-file release/constraints.txt pyproject.toml

audit: $(FOR_TESTS) ## Known vulnerabilities of what is locked (needs a network; ARGS="--service osv")
	@$(BIN)/python release/audit.py $(ARGS)

sbom: $(FOR_TESTS) ## The bill of materials of a release, CycloneDX, to ./dist
	@$(BIN)/python release/sbom.py $(ARGS)

clean: ## Remove .venv and caches; ./var (the demo's data) stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "tierproxy needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "this Python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml | $(BIN)/pip
	@echo "installing tierproxy and its demo into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(FOR_TESTS): pyproject.toml release/constraints.txt | $(BIN)/pip
	@echo "installing tierproxy and what its tests need into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint release/constraints.txt --editable '.[dev]'
	@touch $@ $(INSTALLED)
