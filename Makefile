# Everything a person or CI runs. `make` alone prints what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV_VERSION := 0.13.9
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: help env jars up down status test test-unit test-integration test-e2e bench lint lock clean

help: ## Print this list
	@grep -hE '^[a-z0-9%-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

env: .venv/.ready ## Create .venv from requirements-dev.lock (hash-checked) and install the project in it

.venv/.ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed, found %d.%d; run make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

jars: .sluice/jars/.ready ## Fetch Kafka and the connector, build the JSON format (Maven)

.sluice/jars/.ready: pom.xml $(shell find include/java -type f) | .venv/.ready
	$(BIN)/python -m sluice.local java
	@echo "fetching the jars (54 MB the first time)"
	rm -rf .sluice/jars
	mvn --quiet --batch-mode --no-transfer-progress package
	@touch $@

up: env jars ## Start Kafka, Flink and Airflow, and run the main job: all jobs, under traffic
	$(BIN)/python -m sluice.local up
	$(BIN)/python -m sluice.local run-main-job

down: env ## Stop everything that `make up` has started
	$(BIN)/python -m sluice.local down

status: env ## Show the jobs
	$(BIN)/sluice status

test: lint test-unit test-integration test-e2e ## Set up, check and test everything

test-unit: env ## Unit tests: no Java, under a minute
	$(BIN)/python -m pytest tests/unit

test-integration: env jars ## The jobs on a real Kafka and a real Flink
	$(BIN)/python -m pytest tests/integration

test-e2e: env jars ## The whole stack, Airflow included
	$(BIN)/python -m pytest tests/e2e

bench-%: env jars ## One benchmark, e.g. bench-throughput: prints its table, writes benchmarks/results/
	$(BIN)/python -m benchmarks.$*

bench: bench-device_category bench-dag_parse bench-throughput bench-first_deploy ## Every benchmark

lint: env ## Ruff, formatting, strict types and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: env ## Compile requirements*.txt into the locks, with hashes
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements.txt -o requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements-dev.txt -o requirements-dev.lock

clean: ## Remove the environment, the caches and the local state (make down first)
	@test ! -S .sluice/supervisor.sock || { echo "the stack runs: make down first"; exit 2; }
	rm -rf .sluice .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
