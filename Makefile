# Two commands do everything on a machine with git, make and Python >= 3.11:
#   make quickstart   installs into .venv and runs the main job on the built-in data
#   make test         installs what the tests need and passes them
PYTHON ?= python3
VENV ?= .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
# Two workers with one thread each: two processes that both use two threads crawl.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile
SOURCES := pyproject.toml constraints.txt

.PHONY: quickstart test test-fast coverage test-gpu test-wheel docs docs-links lint format examples benchmarks clean

quickstart: $(VENV)/.plot
	$(BIN)/python examples/01_quickstart.py

test: $(VENV)/.dev
	$(PYTEST)

test-fast: $(VENV)/.dev
	$(PYTEST) -m "not slow"

# Which lines and branches the tests enter; the pages are in htmlcov/.
coverage: $(VENV)/.dev
	$(PYTEST) --cov --cov-report=term --cov-report=html --cov-report=json:coverage.json \
	  --cov-fail-under=90

test-gpu: $(VENV)/.dev
	XDOWNSCALE_TEST_GPU=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/test_cuda.py

test-wheel:
	PYTHON=$(PYTHON) .ci/wheel

# Two minutes, without a network; warnings are errors. One thread for each of the two processes.
docs: $(VENV)/.docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going -j 2 -d docs/_build/doctrees docs docs/_build/html

# Every link of the site, those to other sites too: needs a network.
docs-links: $(VENV)/.docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -b linkcheck -d docs/_build/doctrees docs docs/_build/linkcheck

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmarks: $(VENV)/.dev
	$(BIN)/python benchmarks/regrid.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.plot: $(SOURCES) | $(BIN)/python
	$(PIP) -e ".[plot]"
	touch $@

$(VENV)/.dev: $(SOURCES) | $(BIN)/python
	$(PIP) -e ".[plot,dev]"
	touch $@ $(VENV)/.plot

$(VENV)/.docs: $(SOURCES) | $(VENV)/bin/python
	$(PIP) -e ".[plot,docs]"
	touch $@

clean:
	rm -rf $(VENV) docs/_build docs/gallery docs/reference/api/generated build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis quickstart_output htmlcov .coverage* coverage.json
