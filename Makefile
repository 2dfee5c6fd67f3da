# Everything a person or CI runs. `make` alone prints what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV_VERSION := 0.13.9
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: help env test test-unit lint lock clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

env: .venv/.ready ## Create .venv from requirements-dev.lock (hash-checked) and install the project in it

.venv/.ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed, found %d.%d; run make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

test: lint test-unit ## Set up, check and test everything

test-unit: env ## Unit tests: no Java, under a minute
	$(BIN)/python -m pytest tests/unit

lint: env ## Ruff, formatting, strict types and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: env ## Compile requirements*.txt into the locks, with hashes
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements.txt -o requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements-dev.txt -o requirements-dev.lock

clean: ## Remove the environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
