# `make demo` and `make test` work from a fresh clone: each makes the virtual environment it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint Testing/constraints.txt
# One process for every core, at most four for the sake of memory; files whose tests share expensive fixtures stay together (Testing/conftest.py).
PARALLEL ?= -n logical --dist loadfile --no-loadscope-reorder --maxprocesses 4 --max-worker-restart 0

.PHONY: demo test test-fast coverage dist lint docs docs-serve pictures examples bench philips clean

## The whole way on a scan: make demo CT=path, or without CT on a simulated chest.
demo: $(VENV)/.installed
	$(BIN)/ctkernel demo $(CT) --out demo

## Style, types and every test; in one process with: make test PARALLEL=
test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest $(PARALLEL)

## The tests without the mark slow: every package is touched, in under 2 minutes on two idle cores.
test-fast: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

## All tests, with the share of the code that they reach; fails where it falls below the gate of pyproject.toml.
coverage: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term

## Wheel and source distribution.
dist: $(VENV)/.installed-test
	$(BIN)/python -m build --outdir dist .

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

## The documents into site/; warnings are errors, links and anchors are checked. They open from the disk, without network.
docs: $(VENV)/.installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

docs-serve: $(VENV)/.installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

## Every picture of README and documents anew (docsite/pictures.py); those whose scans are not on this computer stay as they are.
pictures: $(VENV)/.installed-test
	$(BIN)/python -m docsite.pictures

## Run the example notebooks on the sample in Resources/Sample and store their outputs, which the documents show.
examples: $(VENV)/.installed-test
	$(BIN)/python -m docsite.notebooks

## Every method against the real soft series of a kernel pair: make philips PAIR=folder of both series
PAIR ?= ../shared/data/lung-dx-a0001-philips
philips: $(VENV)/.installed-test
	$(BIN)/python -m training.pairs $(PAIR) --out runs/philips
	$(BIN)/python -m training.evaluate runs/philips --methods raw heuristic bands linear restored unet --best restored --out runs/philips/results --panels 1

## Speed and memory, as ratios measured in the same run.
bench: $(VENV)/.installed-test
	$(BIN)/python -m Testing.bench

clean:
	rm -rf $(VENV) demo build dist site *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Use: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml Testing/constraints.txt | $(BIN)/python
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml Testing/constraints.txt | $(BIN)/python
	$(PIP) --editable ".[test]"
	touch $@ $(VENV)/.installed
