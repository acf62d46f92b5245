# Every recipe sets up what it needs, in .venv of this folder, and costs nothing the second time.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --cov --cov-report=
# Tests of one file share the servers that they start; the order is that of tests/conftest.py.
BY_FILE := --dist loadfile --no-loadscope-reorder
# Tests that need no broker: they share nothing and keep a core busy each.
PURE := tests/unit tests/property tests/contracts tests/scenarios tests/deploy $(addprefix tests/chaos/test_,judge.py mutations.py soak.py)

help: ## list the recipes
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: setup ## watch a simulated clinic being decided live; DEMO_SECONDS=20 make demo ends by itself
	@$(BIN)/ownership-stream demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

test: lint tools ## everything that CI runs: lint, types, layers, all tests, coverage of the core
	@if command -v java >/dev/null && command -v mvn >/dev/null; then $(MAKE) jars; fi
	@PYTHONPATH=tests $(BIN)/python -m deploy_kit
ifdef PYTEST_ARGS
	@$(PYTEST) $(PYTEST_ARGS)
else
	@$(PYTEST) --numprocesses 2 $(PURE)
	@$(PYTEST) --cov-append --numprocesses 2 $(BY_FILE) $(addprefix --ignore=,$(PURE))
endif
	@$(BIN)/python tests/coverage_gate.py

check: test ## the same as `make test`: what CI runs

lint: setup-test ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check --quiet . && echo "ruff: clean"
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

unit: setup-test ## the tests that need no broker
	@$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

browser: setup-test tools ## the pages in a real Chromium alone; OWNERSHIP_TEST_SHOTS=folder keeps pictures
	@$(BIN)/python -m pytest tests/browser $(PYTEST_ARGS)

deep: setup-test ## the property tests with many new examples
	@OWNERSHIP_TEST_PROFILE=deep $(BIN)/python -m pytest tests/property tests/unit $(PYTEST_ARGS)

format: setup-test ## let ruff mend what it can, and format
	@$(BIN)/ruff check --fix-only --quiet . && $(BIN)/ruff format .

faults: setup-test tools ## of the tests only those with faults, one of each, each judged; for as long as wanted: `make chaos`
	@$(BIN)/python -m pytest -m faults tests/chaos $(PYTEST_ARGS)

chaos: setup-test ## faults under load, each round judged: MINUTES=30 SEED=… plays combinations, ROUNDS=200 kills with -9
	@PYTHONPATH=src:tests $(BIN)/python -m chaos.chaos $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

mutate: setup-test ## break exactly-once on purpose, break by break: the chaos harness must see each; ONLY="no-skip …"
	@PYTHONPATH=src:tests $(BIN)/python -m chaos.mutate $(if $(ONLY),--only $(ONLY))

soak: setup-test ## minutes at 70% of the maximum, in peace and with workers killed: MINUTES=10, SOAK_ARGS="--write" for the page
	@PYTHONPATH=src:tests $(BIN)/python -m chaos.soak $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(SEED),--seed $(SEED)) $(SOAK_ARGS)

bench-decide: ## one decide beside the JSON decode of its row, in one run
	@scripts/setup bench
	@PYTHONPATH=src .venv-bench/bin/python benchmarks/bench_decide.py

bench-formats: ## decode and map a row by each format beside the bare library, in one run; BENCH_ARGS=--profile for where it goes
	@scripts/setup bench
	@PYTHONPATH=src .venv-bench/bin/python benchmarks/bench_decode.py $(BENCH_ARGS)

bench-duplicates: setup-test ## precision and recall of the match keys on a labelled set of generated people; PEOPLE=…
	@PYTHONPATH=src:tests $(BIN)/python benchmarks/bench_duplicates.py $(if $(PEOPLE),--people $(PEOPLE))

bench-catchup: setup-test ## a lane's rebuild of 1,000,000 states beside a bare loop, in one run; RECORDS=… for fewer
	@PYTHONPATH=tests $(BIN)/python benchmarks/bench_catchup.py $(if $(RECORDS),--records $(RECORDS))

bench: ## measured beside others on a real broker, in one run: QUICK=1 to see that it works, BENCH_ARGS="--write" for the page
	@scripts/setup bench
	@PYTHONPATH=src .venv-bench/bin/python benchmarks/bench.py $(if $(QUICK),--quick) $(BENCH_ARGS)

docs: setup-test ## write the generated pages anew: CLI, settings, metrics, dashboards, the chart's schema
	@$(BIN)/python docs/generate.py
	@$(BIN)/python deploy/grafana/dashboards.py
	@$(BIN)/python deploy/helm/generate.py

image: ## build the container image, tagged with the program's version: IMAGE=registry/name for another name
	@docker build --tag $(or $(IMAGE),ownership-stream):$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' src/ownership_stream/__init__.py) .

loop-demo: setup-test tools ## two PostgreSQL databases, Debezium, the worker and JDBC sinks in a loop: LOOP_ARGS="--seed 2 --without-marker --avro"
	@PYTHONPATH=src:tests $(BIN)/python -m closed_loop.demo $(LOOP_ARGS)

jars: setup-test ## fetch what the tests run in Java now: Kafka, Kafka Connect with its connectors, a schema registry (Maven)
	@PYTHONPATH=src:tests $(BIN)/python -c 'from integration.brokers import archive_classes; print("broker:", archive_classes())'
	@PYTHONPATH=src:tests $(BIN)/python -c 'from closed_loop.connect import archive_classes; print("connect:", archive_classes())'
	@PYTHONPATH=src:tests $(BIN)/python -c 'from integration.registry import archive_classes; print("registry:", archive_classes())'

lock: ## compile the lock files anew from pyproject.toml
	@scripts/lock

setup: ## make .venv with what a worker and the demo need
	@scripts/setup run

setup-test: ## make .venv with what the tests need too
	@scripts/setup test

tools: ## install or name what the tests need beside Python
	@scripts/tools

clean: ## remove what the recipes made
	@rm -rf .venv .venv-bench .coverage .coverage.* coverage.json .hypothesis .mypy_cache .pytest_cache .ruff_cache

.PHONY: help demo loop-demo test check lint unit deep format faults chaos mutate soak bench-decide bench-formats bench-duplicates bench-catchup bench docs image jars lock setup setup-test tools clean
