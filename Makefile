.DEFAULT_GOAL := help
.PHONY: help setup check test test-slow gpu golden bench report-demo
BIN ?= .venv/bin
export OMP_NUM_THREADS ?= 1

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup:  ## virtual environment in .venv with everything that development needs
	python3 -m venv .venv
	.venv/bin/pip install -c constraints.txt -e ".[dev]"

check:  ## style, types and floors (seconds)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test:  ## the default tests, on 2 cores
	$(BIN)/pytest -q -n 2

test-slow:  ## every slow test (minutes to an hour)
	$(BIN)/pytest -m "slow and not gpu" --durations=20

gpu:  ## tests that need a CUDA device
	$(BIN)/pytest -m gpu

golden:  ## re-record the golden numbers; owes a Numbers line in CHANGELOG.md
	$(BIN)/python -m tests.golden.record
	git diff --stat tests/golden

bench:  ## seconds by phase, and sequences/s beside TRL (extra `bench`), into docs/results
	$(BIN)/python -m tests.bench.phases --out docs/results/phases.csv
	$(BIN)/python -m tests.bench.trl_grpo --out docs/results/trl_throughput.csv
	$(BIN)/python -m tests.bench.sandbox --out docs/results/sandbox_rate.csv

report-demo:  ## default training, then its report page
	$(BIN)/rrl-train -m experiment=ppo,rrl hydra.sweep.dir=multirun/demo
	$(BIN)/rrl-report multirun/demo
