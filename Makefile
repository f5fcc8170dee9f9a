# Every target makes what it needs: python3 with venv, git and make are enough to begin with.
#
#   make demo    runs DVCLive's own example in a new repository, ./demo
#   make test    runs all tests          (make test ARGS="-k report")
#   make lint    ruff and mypy
#   make faults  kills 300 trainings at random moments and 150 at chosen ones, fills and breaks
#                disks, and prints the figures (ten minutes and more on two cores)
#                (make faults ROUNDS=24 for less)
#   make bench   times this package and the public dvclive in turn
#                (make bench ROWS=end; BENCH=full for the long rows; BASE=folder for another disk)

PYTHON ?= python3
VENV := .venv
BENCH_VENV := .bench-venv
ARGS ?=
ROWS ?=
BENCH ?= quick

# An install for development holds all that the demo needs; a stamp is older than
# pyproject.toml when the requirements may have changed.
DEMO := $(VENV)/.made-for-demo
DEV := $(VENV)/.made-for-development
PUBLIC := $(BENCH_VENV)/.made

.PHONY: demo test faults lint format bench clean

demo: $(DEMO)
	$(VENV)/bin/python examples/demo.py demo

test: $(DEV)
	$(VENV)/bin/python -m pytest -n 2 $(ARGS)

faults: $(DEV)
	FAULT_ROUNDS=$(or $(ROUNDS),300) $(VENV)/bin/python -m pytest -n 2 -q --timeout 3000 tests/faults $(ARGS)

lint: $(DEV)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(DEV)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(DEV) $(PUBLIC)
	$(VENV)/bin/python -m benchmarks --public $(BENCH_VENV)/bin/python --$(BENCH) $(if $(ROWS),--rows '$(ROWS)') $(if $(BASE),--base '$(BASE)')

$(DEV): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[all,dev]'
	touch $(DEMO) $(DEV)

$(DEMO): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[image,sklearn,report]'
	touch $(DEMO)

# The packages that the table is compared with live apart, so that they decide nothing here.
# Those beyond dvclive are extras of the table: a row says so where one cannot be had.
$(PUBLIC): benchmarks/requirements.txt benchmarks/requirements-others.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --requirement benchmarks/requirements.txt
	while read -r package; do \
	  $(BENCH_VENV)/bin/python -m pip install --quiet "$$package" || echo "no $$package here"; \
	done < benchmarks/requirements-others.txt
	touch $(PUBLIC)

clean:
	rm -rf $(VENV) $(BENCH_VENV) demo build dist *.egg-info .mypy_cache .ruff_cache
