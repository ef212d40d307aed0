# Every target makes its own virtual environment when it needs one; only Python 3.11+ and make
# have to be there. Another interpreter: `make PYTHON=python3.12 test`.
PYTHON ?= python3
WORKERS ?= 2
MINUTES ?= 10
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test torture check docs format clean distclean

help:
	@echo "make demo       the whole job on the embedded data, with its tables"
	@echo "make test       the tests (WORKERS=$(WORKERS) processes of one thread each)"
	@echo "make torture    kills, faults, power cuts, flips and fuzzing, MINUTES=$(MINUTES) a fuzzed reader: hours"
	@echo "make check      ruff, basedpyright, import-linter"
	@echo "make docs       the pages of docs/ and the API, into site/"
	@echo "make format     let ruff format and fix what it can"
	@echo "make venv       the virtual environment in $(VENV), with all of the above"
	@echo "make clean      remove caches and builds; make distclean: and $(VENV)"

venv: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit('Python 3.11 or newer is needed, this is ' + sys.version.split()[0] + '; name another one: make PYTHON=python3.11')"
	@echo "installing into $(VENV); the first time this takes some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/pfcli demo

test: $(READY)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS)

torture: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torture]' || echo "atheris cannot be installed here: fuzzing goes on with mutations that no coverage leads"
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/pytest tests/torture --long --minutes $(MINUTES) -s

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist site promptfuse.egg-info .pytest_cache .ruff_cache .import_linter_cache
	find . -path ./$(VENV) -prune -o -path ./.git -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
