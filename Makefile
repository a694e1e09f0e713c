# The developer's interface. Arguments are passed on: make demo ARGS=--json, make test ARGS="-k fill".
# From elsewhere: make -sC /path/to/checkout demo (without -s, make adds a line of its own on stdout).
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format simulate grid power-loss kill planted mutate reliability benchmark diagrams clean
ARGS ?=
SEEDS ?= 1000
BIN := .venv/bin
# These alone reach every branch of the core; the walk beside them would take minutes when traced.
CORE_TESTS := tests/core tests/saga/test_state_machines.py --ignore=tests/core/test_exhaustive_walk.py

# help: this list
help:
	@sed -n 's/^# \([a-z-]*\): /  make \1\t/p' Makefile | expand -t 20

# setup: make .venv, or bring it up to date (ARGS="--force --plots"; PYTHON=/path/to/python3)
setup:
	@sh tools/setup.sh $(ARGS)

# demo: the main job, five scenes in half a minute
demo: .venv-ready
	@$(BIN)/saga demo $(ARGS)

# test: format, lint, types, import rules, all tests; every branch of the core (ARGS go to pytest)
test: lint
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal $(or $(ARGS),--quiet)
	@$(if $(ARGS),:,$(BIN)/python -m pytest $(CORE_TESTS) --quiet --cov)

# lint: the part of `make test` that runs no test (ARGS go to `ruff check`)
lint: .venv-ready
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet . $(if $(filter lint,$(MAKECMDGOALS)),$(ARGS))
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# format: put the code into its form, and mend what can be mended
format: .venv-ready
	@$(BIN)/ruff format . $(ARGS)
	@$(BIN)/ruff check --fix .

# simulate: crash the engine in SEEDS=1000 simulated worlds (ARGS="--json --jobs 2")
simulate: .venv-ready
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

# grid: crash points x venue behaviours x kinds of loss, 12,636 runs (ARGS="--json --once --cell=...")
grid: .venv-ready
	@$(BIN)/python -m tests.grid $(ARGS)

# power-loss: fail the power at every operation on the store's files, some minutes (ARGS=--json)
power-loss: .venv-ready
	@$(BIN)/python -m tests.power_loss $(ARGS)

# kill: kill -9, freeze, fill the disk: N=200 strikes on real processes (ARGS="--json --only=K5")
kill: .venv-ready
	@$(BIN)/python -m tests.crash.drill --kills $(or $(N),200) $(ARGS)

# mutate: does a test notice when the core is wrong? 95 % of its mutants (ARGS="--json --all")
mutate: .venv-ready
	@$(BIN)/python -m tests.mutation $(ARGS)

# planted: is each bug found that was planted on purpose? (ARGS="--json --search --only=undo")
planted: .venv-ready
	@$(BIN)/python -m tests.planted $(ARGS)

# reliability: all of these at full size, hours; writes docs/reliability.md (ARGS="--quick grid")
reliability: .venv-ready
	@$(BIN)/python -m tests.reliability $(ARGS)

# benchmark: every goal of speed beside its peer, hours; --quick is a minute (ARGS="--quick --json 1")
benchmark: .venv-ready
	@$(BIN)/python -m benchmarks $(ARGS)

# diagrams: draw both state machines anew from the transition tables
diagrams: .venv-ready
	@$(BIN)/python -m saga.diagrams $(ARGS)

# clean: remove .venv and everything else that was generated and is not committed
clean:
	@rm -rf $(ARGS) .venv build dist htmlcov .coverage .coverage.* .*_cache .hypothesis .benchmark-*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: .venv-ready
.venv-ready:
	@sh tools/setup.sh
