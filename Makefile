# make help lists the targets. PYTHON=... chooses the interpreter (3.11 or later), VENV=... the folder of the environment,
# TORCH=auto|cpu|cuda|none how torch is chosen (README), JOBS=... the number of test workers, FUZZ_S=... seconds of each
# way of fuzzing.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
VENV ?= .venv
JOBS ?= 2
TORCH ?= auto
FUZZ_S ?= 600
export TORCH

bin := $(VENV)/bin
pip := $(bin)/python -m pip install -q --disable-pip-version-check -c constraints.txt
comma := ,
empty :=
space := $(empty) $(empty)
strategies = $(basename $(notdir $(wildcard conf/strategy/*.yaml)))
stamp_core := $(VENV)/.hcsim-core
stamp_dev := $(VENV)/.hcsim-dev
inputs := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench fuzz lint unit slow bench-quick verify

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(stamp_dev) ## an environment in .venv with everything for development

demo: $(stamp_core) ## six strategies on a hybrid fleet: a table and report.html (needs only the core)
	$(bin)/hcsim demo

test: lint bench-quick unit ## lint, types, layers, one quick pass of the benchmarks, all tests

bench: $(stamp_dev) ## the benchmarks, timed
	$(bin)/python -m pytest tests/bench

fuzz: $(stamp_dev) ## damaged trace files for twenty minutes, at random and led by coverage; FUZZ_S=... seconds of each
	HCSIM_FUZZ_S=$(FUZZ_S) $(bin)/python -m pytest tests/traces/test_fuzz.py -k random
	$(bin)/python tools/fuzz_traces.py $(FUZZ_S)

lint: $(stamp_dev) ## ruff, mypy --strict, import-linter
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy --strict
	$(bin)/lint-imports

# Each benchmark once and untimed: what they assert (counts, equal schedules) is checked, no test fails on a clock.
bench-quick: $(stamp_dev)
	$(bin)/python -m pytest tests/bench --benchmark-disable

unit: $(stamp_dev)
	$(bin)/python -m pytest tests --ignore=tests/bench -n $(JOBS) --benchmark-disable -m "not slow"

slow: $(stamp_dev) ## tests of more than ten seconds each, such as every row of every reproduction
	$(bin)/python -m pytest tests --ignore=tests/bench -n $(JOBS) --benchmark-disable -m slow

verify: $(stamp_dev) ## the full measures, by hand: large benchmarks, all strategies on the Philly log (HCSIM_DATA)
	HCSIM_BENCH=full $(bin)/python -m pytest tests/bench
	$(bin)/hcsim run -m trace=philly strategy=$(subst $(space),$(comma),$(strategies)) hydra/launcher=joblib \
		hydra.sweep.dir=runs/verify
	$(bin)/hcsim compare runs/verify --baseline fifo

# A torch that the chosen interpreter can already import is worth gigabytes: the environment then sees its packages.
$(bin)/python:
	@test -n "$(PYTHON)" || { echo "hcsim needs Python 3.11 or later; say which with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) \
		$$($(PYTHON) -c "import importlib.util as u; print('--system-site-packages' if u.find_spec('torch') else '')")

$(stamp_core): $(inputs) | $(bin)/python
	$(pip) -e .
	@touch $@

$(stamp_dev): $(inputs) tools/install_torch.py | $(bin)/python
	$(pip) -e '.[dev]'
	$(bin)/python tools/install_torch.py
	@touch $(stamp_core) $@
