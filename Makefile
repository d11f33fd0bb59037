# `make demo` and `make test` set everything up on a machine with Python, make and git.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help bench demo quickstart test test-all coverage docs release-check lint format clean

help:
	@echo "make demo      the whole method on a small procedural data set: runs/demo/report.md"
	@echo "make quickstart  the labels of one picture: a table and quickstart.png"
	@echo "make test      the test suite"
	@echo "make test-all  the same with load, kills, a soak and more random examples: an hour or so"
	@echo "make coverage  the test suite, with the branch coverage of the package"
	@echo "make docs      the site, in docs/_build/html: all examples run, all links are checked"
	@echo "make release-check  sdist and wheel, their contents, and the wheel in an empty environment"
	@echo "make bench     times and peak memory against what people use: runs/bench/bench.md"
	@echo "make lint      ruff, mypy, pyright"
	@echo "make format    ruff format and its safe fixes"

demo: $(VENV)/examples.done
	$(BIN)/python examples/voc/run.py --config demo --out runs/demo

quickstart: $(VENV)/examples.done
	$(BIN)/python examples/quickstart.py

test: $(VENV)/test.done
	$(BIN)/python -m pytest

test-all: $(VENV)/test.done
	IO_FUZZ_EXAMPLES=1000 WSSS_FUZZ=20 $(BIN)/python -m pytest -m "slow or not slow"

coverage: $(VENV)/test.done
	$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=95

docs: $(VENV)/docs.done
	rm -rf docs/_build docs/reference/generated
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b doctest -D nb_execution_mode=off docs docs/_build/doctest
	$(BIN)/python tools/check_site.py docs/_build/html

release-check: $(VENV)/release.done
	$(BIN)/python tools/release_check.py

bench: $(VENV)/bench.done
	$(BIN)/python benchmarks/run.py

lint: $(VENV)/lint.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/lint.done
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# A virtual environment with an extra of pyproject.toml, made anew when that file changes.
$(VENV)/%.done: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --editable '.[$*]'
	touch $@

$(VENV)/lint.done: $(VENV)/test.done

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage quickstart.png dist docs/_build docs/gallery docs/reference/generated
