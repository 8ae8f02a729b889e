# Each target first installs what it needs. Outside this folder, only the folders that PERPS_HOME and
# PERPS_CACHE name (see docs/settings.md) are changed.
PYTHON ?= python3
BIN := .venv/bin
# uv does not read pip's settings: if only those name a registry, pip installs
WITH_UV = uv venv --quiet --allow-existing --python $(PYTHON) .venv && $(call IN_TWO_STEPS,uv pip install --quiet --python .venv)
WITH_PIP = $(PYTHON) -m venv .venv && $(call IN_TWO_STEPS,$(BIN)/pip install --quiet --disable-pip-version-check)
# the second step downloads nothing, and so fails where constraints.txt lacks what pyproject.toml needs
IN_TWO_STEPS = $(1) --require-hashes --no-deps --requirement constraints.txt && $(1) --no-index --no-build-isolation --editable '.[dev]'

.DEFAULT_GOAL := help
.PHONY: help install demo test coverage soak fuzz lint audit bench bench-quick docs constraints clean

help:
	@echo "make install  create .venv and install into it"
	@echo "make demo     load, build and report 30 days of two synthetic perpetuals from a simulator"
	@echo "make test     run all tests, with their own server and simulators"
	@echo "make coverage show which lines of extract/ the tests run; TESTS=tests/unit for a part of them"
	@echo "make soak     test under random kills and faults: MINUTES=10, or SEEDS=200 FROM=1, or SEED=n to repeat one; WORKERS=1"
	@echo "make bench    run the benchmarks at full size, against two baselines and two peers, of which ccxt is downloaded (about an hour; on an otherwise idle machine)"
	@echo "make bench-quick  run the benchmarks at small sizes, to check that they work"
	@echo "make fuzz     test random replies, windows and upserts, MINUTES=5"
	@echo "make lint     run ruff check, ruff format --check, mypy, import-linter, dbt parse, sqlfluff"
	@echo "make audit    run bandit on the code and pip-audit on constraints.txt (queries a vulnerability service)"

install: .venv/installed profiles.yml

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: expected Python 3.11 or newer, got $$($(PYTHON) --version); try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "error: Python's venv module is missing; run: apt install python3-venv" >&2; exit 1; }
	@begun=$$(date +%s); packages="$$(grep -c == constraints.txt) packages into .venv"; by=pip; \
	if uv --version >/dev/null 2>&1; then \
		echo "installing $$packages with uv"; \
		said=$$({ $(WITH_UV); } 2>&1) && by=uv || echo "uv failed ($$(echo "$$said" | tail -n 1 | sed 's/^ *//'))"; \
	fi; \
	if [ $$by = pip ]; then echo "installing $$packages with pip, which takes a minute or more"; $(WITH_PIP) || \
		{ echo "error: could not install; if constraints.txt lacks what pyproject.toml needs, run: make constraints" >&2; exit 1; }; fi; \
	echo "installed in $$(($$(date +%s) - begun)) s"
	@touch $@

profiles.yml: profiles.yml.example
	@cp profiles.yml.example profiles.yml

demo: install
	@$(BIN)/perps demo

test: install
	@$(BIN)/pytest

coverage: install
	@mkdir -p target
	@$(BIN)/pytest --cov --cov-report=term $(TESTS)

soak: install
	@SEED=$(SEED) SEEDS=$(SEEDS) FROM=$(FROM) MINUTES=$(MINUTES) WORKERS=$(WORKERS) $(BIN)/python -m tests.faults.promise

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/dbt --quiet parse --no-partial-parse --target-path target/lint
	@$(BIN)/sqlfluff lint --disable-progress-bar -q dbt_project/models dbt_project/tests dbt_project/queries

.venv-audit/installed:
	@echo "installing into .venv-audit"
	@$(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/pip install --quiet --disable-pip-version-check 'bandit>=1.8,<2' 'pip-audit>=2.9,<3' 'uv>=0.8,<1'
	@touch $@

# Strict: fails if the service does not know a package or does not answer.
audit: install .venv-audit/installed
	@.venv-audit/bin/pip --python $(BIN)/python check
	@.venv-audit/bin/bandit --quiet --configfile pyproject.toml --recursive extract tests/benchmarks
	@.venv-audit/bin/pip-audit --strict --progress-spinner off --disable-pip --no-deps --requirement constraints.txt || \
		{ echo "error: constraints.txt has the vulnerabilities above, or the service did not answer; update the packages, or run make audit again later" >&2; exit 1; }

# What the benchmarks compare with, and this project does not use.
.venv-peers/installed:
	@echo "installing into .venv-peers"
	@$(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/pip install --quiet --disable-pip-version-check 'ccxt>=4.5,<5' 'psycopg2-binary>=2.9.9,<3'
	@touch $@

bench: install
	@$(BIN)/python -m tests.benchmarks

bench-quick: install
	@$(BIN)/python -m tests.benchmarks --quick

# For a longer run: make fuzz MINUTES=30. Each failure is printed with its seed.
fuzz: MINUTES ?= 5
fuzz: install
	@$(BIN)/python -m tests.fuzz $(MINUTES)
	@FUZZ_EXAMPLES=$$(($(MINUTES) * 500)) FUZZ_SEQUENCES=$(MINUTES) $(BIN)/pytest --quiet -p no:cacheprovider --timeout 0 tests/fuzz

# After a change of the command line or of a query: updates their blocks in docs.
docs: install
	@$(BIN)/python -m tests.docs

# After a change of pyproject.toml: locks the newest versions that its bounds allow, for every platform and Python from 3.11, with the
# hashes of all files and without URLs.
constraints: .venv-audit/installed
	@.venv-audit/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
		--no-strip-extras --generate-hashes --no-annotate --no-header --extra dev --output-file constraints.txt pyproject.toml

clean:
	@rm -rf .venv .venv-audit .venv-peers target logs reports build *.egg-info .pytest_cache .ruff_cache .import_linter_cache .mypy_cache .hypothesis
