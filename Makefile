# Targets for people and CI. `make` without a target lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV_VERSION := 0.13.9
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# With this variable Python writes no bytecode files, and each process of a stack compiles all of Airflow again, which takes
# seconds for every task.
unexport PYTHONDONTWRITEBYTECODE
# $(call timed,text,command): prints the text, runs the command, and prints its duration.
timed = @echo "$(1) ..."; since=$$SECONDS; $(2) && echo "  done in $$((SECONDS - since)) s"

.PHONY: help env jars client up down status test test-unit test-stacks test-integration test-jobs test-e2e audit bench screenshots lint lock clean

help: ## Print this list
	@grep -hE '^[a-z0-9%-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

env: .venv/.ready ## Create .venv from requirements-dev.lock (hash-checked) and install the project in it

.venv/.ready: requirements-dev.lock pyproject.toml
	@PYTHON="$(PYTHON)" UV_VERSION=$(UV_VERSION) scripts/make-venv .venv
	$(call timed,fetching uv $(UV_VERSION),$(BIN)/python -m pip install --quiet uv==$(UV_VERSION))
	$(call timed,installing the packages of requirements-dev.lock (about 1 GB; the first time takes a minute or more),$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock)
	$(call timed,installing the project,$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .)
	@touch $@

jars: .sluice/jars/.ready ## Fetch Kafka and the connector, build the JSON format (Maven)

.sluice/jars/.ready: pom.xml $(shell find include/java -type f) | .venv/.ready
	$(BIN)/python -m sluice.local java
	@rm -rf .sluice/jars.new
	$(call timed,fetching Kafka and its connector and flink-python (97 MB the first time) and building the JSON format with Maven,mvn --quiet --batch-mode --no-transfer-progress -Djars=$(CURDIR)/.sluice/jars.new package)
	@touch .sluice/jars.new/.ready
	@# Rename the directories, so that a stack that runs from the old jars keeps them until all new ones exist.
	@rm -rf .sluice/jars.old; if [ -e .sluice/jars ]; then mv .sluice/jars .sluice/jars.old; fi; mv .sluice/jars.new .sluice/jars; rm -rf .sluice/jars.old

client: env jars ## Shorten deploys: record once which classes the Flink client's JVM loads
	$(call timed,recording the classes of the Flink client (once for these jars and this Java),$(BIN)/python -m sluice.local client)

up: client ## Start Kafka, Flink and Airflow, and deploy all jobs under traffic
	$(BIN)/python -m sluice.local up
	$(BIN)/python -m sluice.local run-main-job

down: env ## Stop everything that `make up` started
	$(BIN)/python -m sluice.local down

status: env ## Show the jobs
	$(BIN)/sluice status

test: lint test-unit test-stacks test-jobs ## Set up, check and test everything

test-unit: env ## Unit tests: no Java, under a minute
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/unit

test-stacks: client ## test-integration and test-e2e in one run: while one waits, the other one computes
	@scripts/ensure-package chromium
	@scripts/ensure-package postgresql
	@# Each worker has a Kafka and a Flink for integration tests, and all share one stack with Airflow: about 13 GB.
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder --durations=30 tests/integration tests/e2e

test-integration: client ## The jobs on a real Kafka and a real Flink
	@scripts/ensure-package postgresql
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=20 tests/integration

test-jobs: env jars ## Your jobs' own tests, in tests/jobs/ (where sluice new writes them)
	@# pytest exits with 5 if it finds no tests.
	@if [ -d tests/jobs ]; then $(BIN)/python -m pytest tests/jobs || [ $$? -eq 5 ]; else echo "no tests/jobs/"; fi

test-e2e: client ## The whole stack, Airflow and a browser included
	@scripts/ensure-package chromium
	@scripts/ensure-package postgresql
	@# Both workers share one stack; each changes jobs of its own, and mostly waits for Airflow.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=20 tests/e2e

audit: client ## The long tests: redeploys, kills, process deaths, replays, verdicts on faulty jobs (more than an hour)
	SLUICE_AUDIT_REDEPLOYS=30 SLUICE_AUDIT_KILLS=30 SLUICE_AUDIT_DEATHS=all SLUICE_AUDIT_REPLAYS=all \
		SLUICE_AUDIT_EVENTS=200000 SLUICE_AUDIT_CLIENTS=all \
		$(BIN)/python -m pytest -s tests/integration/test_deaths.py tests/integration/test_audit.py \
		tests/integration/test_replay.py tests/integration/test_replay_deaths.py tests/integration/test_main_jobs.py \
		tests/integration/test_client_start.py tests/integration/test_shared_client.py \
		tests/integration/test_effects.py tests/audit
	SLUICE_AUDIT_GATES=50 SLUICE_AUDIT_MINUTES=10 \
		$(BIN)/python -m pytest -s tests/e2e/test_main_job.py tests/e2e/test_sweeps.py -k "hold_no_worker_slot or raises_no_alarm"

bench-%: client ## One benchmark, e.g. bench-throughput: prints its table, writes benchmarks/results/
	$(BIN)/python -m benchmarks.$*

bench: bench-device_category bench-dag_parse bench-throughput bench-first_deploy bench-redeploy bench-client_start bench-fleet bench-backfill bench-page ## Every benchmark

screenshots: client ## Take the screenshots in docs/images/, from a separate stack
	@scripts/ensure-package chromium
	$(BIN)/python -m scripts.screenshots

lint: env ## Ruff, formatting, strict types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: env ## Compile requirements*.txt into the locks, with hashes
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements.txt -o requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements-dev.txt -o requirements-dev.lock

clean: ## Remove the environment, the caches and the local state (make down first)
	@# Status 2: services are running. A broken environment can't check that, and is removed.
	@test ! -x $(BIN)/python || { $(BIN)/python -m sluice.local refuse-running; test $$? -ne 2; }
	rm -rf .sluice .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
