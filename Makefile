# From a fresh clone: `make bench` installs everything into .venv and compares the variants at 3840x2160.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/bench
VARIANTS ?= full,no_global,no_pos,bicubic
FRAMES ?= 2
TOLERANCE ?= 1.25
THREADS ?= 1

bin := $(VENV)/bin
stamp := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install bench test test-slow perf perf-check lint clean

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

# One thread: threads that wait for each other were measured up to 20 times slower beside another busy process.
perf: $(stamp)  ## Time the hot pieces, in about a minute, and keep the times in runs/perf/latest.json
	mkdir -p runs/perf
	OMP_NUM_THREADS=$(THREADS) $(bin)/python -m pytest benchmarks/perf -m "not slow" -rs --benchmark-disable-gc \
		--benchmark-columns=median,iqr,rounds --benchmark-sort=name --benchmark-json=runs/perf/latest.json

perf-check: perf  ## The same, and fail if one is slower than the baseline by its tolerance (TOLERANCE at least)
	$(bin)/python -m benchmarks.perf.ratios runs/perf/latest.json --tolerance $(TOLERANCE)

lint: $(stamp)  ## ruff and mypy
	$(bin)/python -m ruff check .
	$(bin)/python -m mypy

clean:  ## Remove .venv, caches and build leftovers; runs are kept
	rm -rf $(VENV) .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
