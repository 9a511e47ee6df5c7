# From a fresh clone: `make bench` installs everything into .venv and compares the variants at 3840x2160.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/bench
VARIANTS ?= full,no_global,no_pos,bicubic
FRAMES ?= 2

bin := $(VENV)/bin
stamp := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install bench test test-slow perf lint clean

help:  ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(stamp)  ## Make .venv with everything at the tested versions

# Installed again only when the requirements change.
$(stamp): pyproject.toml constraints.txt
	test -x $(bin)/python || $(PYTHON) -m venv $(VENV)
	$(bin)/python -m pip install --quiet --disable-pip-version-check -e '.[bench,test,dev]' -c constraints.txt
	touch $@

bench: $(stamp)  ## Variants and bicubic at 4K (fetches metric weights once): outputs, records, tables in $(RUN)
	$(bin)/python -m benchmarks.run --suite 4k --variants $(VARIANTS) --frames $(FRAMES) --fetch --out $(RUN)

test: $(stamp)  ## The quick tests
	@$(bin)/python -m pytest -m "not slow"

test-slow: $(stamp)  ## The slow tests
	@$(bin)/python -m pytest -m slow

perf: $(stamp)  ## Costs beside each other (pytest-benchmark); compare within one run only
	$(bin)/python -m pytest benchmarks/perf --benchmark-columns=median,iqr,rounds --benchmark-sort=name

lint: $(stamp)  ## ruff and mypy
	$(bin)/python -m ruff check .
	$(bin)/python -m mypy

clean:  ## Remove .venv, caches and build leftovers; runs are kept
	rm -rf $(VENV) .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
