# Every target makes its own virtual environment if there is none: nothing needs to be installed by hand.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
NUMBERS := tests/test_numbers.py tests/test_documents.py tests/test_schedule_text.py tests/test_bad_numbers.py \
	tests/test_refine.py tests/test_advice.py tests/test_archives.py $(wildcard tests/test_adapter*.py)
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all check bench measure-tasks reliability docs all clean

all: check test docs

demo: $(VENV)/ready
	$(BIN)/lrcontrol select digits-cnn --budget 20runs --seed 0 --out demo

test: $(VENV)/ready-test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-all: $(VENV)/ready-test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/ready-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -q -n $(WORKERS) tests/test_house.py tests/test_profiles.py tests/test_schedules.py src

bench: $(VENV)/ready-bench
	$(BIN)/python benchmarks/schedulers.py
	$(BIN)/python benchmarks/whole.py
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/batched.py
	$(BIN)/python benchmarks/candidates.py
	$(BIN)/python benchmarks/observe.py

reliability: $(VENV)/ready-test
	$(BIN)/python reliability/run.py
	$(BIN)/python -m pytest -q -s -m "slow or not slow" $(NUMBERS)

measure-tasks: $(VENV)/ready-test
	$(BIN)/python benchmarks/tasks.py

docs: $(VENV)/ready-docs
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

clean:
	rm -rf $(VENV) docs/_build demo

# torch comes first and pinned: a plain `torch` may bring gigabytes of CUDA libraries.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lrcontrol needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/ready-%: $(VENV)/ready
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test,$*]'
	touch $@
