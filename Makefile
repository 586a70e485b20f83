# `make` alone says what there is. Each target does its own set-up, with nothing but Python and PyPI.
#   make test PYTHON=python3.12      another Python for the environment
#   make test VENV=/path/to/venv     another place for it
#   make test WORKERS=0              tests in one process, which a debugger wants

PYTHON ?= python3
VENV   ?= .venv
# Held to the version the recorded figures were measured with; `make lock TORCH=...` moves it.
TORCH  ?= 2.13.0

# Processes that share the tests: one for each core, and a gigabyte of memory for each.
WORKERS ?= logical

BIN     := $(VENV)/bin
RUNTIME := $(VENV)/.installed
DEV     := $(VENV)/.installed-dev

# A worker that has nothing left takes tests from the end of another one's list; those of a file mostly stay together,
# and with them what their file makes once.
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal

# What `make quickstart` trains: one command, one place to change it.
QUICKSTART = fit --config configs/tuned_on_embedded/qlora.yaml --config configs/offline.yaml \
	--data.n_train 400 --data.n_val 100 --data.n_test 500

# What `make compare` compares: sized for ten minutes on two cores, the forecast and the starting of 16 processes included.
COMPARE = compare configs/tuned_on_embedded/full.yaml configs/tuned_on_embedded/lora.yaml \
	configs/tuned_on_embedded/qlora.yaml configs/tuned_on_embedded/ia3.yaml \
	--config configs/offline.yaml --seeds 1 2 3 \
	--data.n_train 240 --data.n_val 64 --data.n_test 300 --data.max_length 128

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install install-dev quickstart compare lint format type test slow test-all oldest lock build clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(RUNTIME) ## an environment in .venv with what running takes, pinned by requirements.lock

install-dev: $(DEV) ## the same with the tools of the checks, pinned by requirements-dev.lock

quickstart: $(RUNTIME) ## train QLoRA offline on a small subset and print its row
	$(BIN)/python -m peft_lightning $(QUICKSTART)

compare: $(RUNTIME) ## compare four methods offline, three seeds each, and write the report; some eight minutes
	$(BIN)/python -m peft_lightning $(COMPARE)

lint: $(DEV) ## ruff: rules and format, and that no import rises; nothing is changed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

format: $(DEV) ## ruff: mend what can be mended and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: $(DEV) ## mypy, strict, of the tests too
	$(BIN)/mypy

test: $(DEV) ## the fast tests on all cores, at most five minutes on two
	$(PYTEST) -m "not slow"

slow: $(DEV) ## the slow tests: killed and fresh processes, the wheel
	$(PYTEST) -m slow

test-all: $(DEV) ## every test
	$(PYTEST)

# pip always takes the newest releases; uv can take the oldest. torch brings CUDA's libraries: some 3 GB to download.
oldest: ## the fast tests with the oldest releases that setup.cfg allows, in an environment in build/oldest
	rm -rf build/oldest
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/python -m pip install --quiet uv
	build/oldest/bin/uv pip install --quiet --python build/oldest --resolution lowest-direct ".[dev,onnx,ray,serve]"
	build/oldest/bin/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal -m "not slow"

lock: ## choose the newest versions that setup.cfg allows and write both lock files
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python scripts/lock.py --torch $(TORCH)
	rm -rf build/lock

build: $(DEV) ## the wheel, in dist/
	rm -rf build/lib build/bdist.* dist
	$(BIN)/python -m build --wheel --no-isolation

clean: ## remove what the targets made, the environment and the runs excepted
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find peft_lightning configs scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "peft-lightning needs Python 3.11 or newer, and '$(PYTHON)' is not: make PYTHON=python3.11 ..." >&2; \
		exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		echo "no environment without the venv module (Debian, Ubuntu: apt install python3-venv)" >&2; \
		rm -f $(BIN)/python; exit 1; }

# Editable without build isolation: setuptools is in the lock (torch needs it), so nothing unpinned is fetched.
$(RUNTIME): requirements.lock setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.lock
	@touch $@
