# From a fresh clone: `make bench` installs everything into .venv and compares the variants at 3840x2160.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/bench
VARIANTS ?= full,no_global,no_pos,bicubic
FRAMES ?= 2
TOLERANCE ?= 1.25
THREADS ?= 1
TESTS ?= 2
GATE ?= runs/golden
GT ?= runs/GT
STUDIES ?= components modulation steps position tiling noise_augmentation dropped_at_inference
GOLDEN ?= benchmarks/golden/nano.json

bin := $(VENV)/bin
stamp := $(VENV)/.installed
# $(call golden_run,SETTINGS,DIR): anew and with an empty cache, since what was made earlier says nothing of the code
# that is there now. float32, because bfloat16 is emulated on some processors and multiplied on others.
golden_cache := $(CURDIR)/runs/.golden-cache
golden_run = rm -rf $(2) $(golden_cache) && $(1) PATCHVSR_CACHE=$(golden_cache) $(bin)/python -m benchmarks.run \
	--suite golden --variants full,shifted,fast,no_global,bicubic --device cpu --dtype float32 --no-mlflow --out $(2)
avx2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
sse := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install bench gate golden results docs test test-slow perf perf-check lint clean

help:  ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(stamp)  ## Make .venv with everything at the tested versions

# Installed again only when the requirements change.
$(stamp): pyproject.toml constraints.txt
	test -x $(bin)/python || $(PYTHON) -m venv $(VENV)
	$(bin)/python -m pip install --quiet --disable-pip-version-check -e '.[bench,docs,test,dev]' -c constraints.txt
	touch $@

bench: $(stamp)  ## Variants and bicubic at 4K (fetches metric weights once): outputs, records, tables in $(RUN)
	$(bin)/python -m benchmarks.run --suite 4k --variants $(VARIANTS) --frames $(FRAMES) --fetch --out $(RUN)

# An item that failed (exit code 1) is for the gate to tell.
gate: $(stamp)  ## Variants on two small clips against $(GOLDEN): fails where one has become worse
	$(call golden_run,OMP_NUM_THREADS=$(THREADS),$(GATE)) || test $$? -eq 1
	$(bin)/python -m benchmarks.regress $(GATE) --against $(GOLDEN) --junit $(GATE)/junit.xml --markdown $(GATE)/gate.md

# Threads and the instructions of other processors must not matter; how much they do gives the tolerances.
golden: $(stamp)  ## Make $(GOLDEN) anew, after a change that is meant to change results
	$(call golden_run,OMP_NUM_THREADS=1,$(GATE)-1)
	$(call golden_run,OMP_NUM_THREADS=2,$(GATE)-2)
	$(call golden_run,OMP_NUM_THREADS=1 $(avx2),$(GATE)-avx2-1)
	$(call golden_run,OMP_NUM_THREADS=2 $(avx2),$(GATE)-avx2-2)
	$(call golden_run,OMP_NUM_THREADS=1 $(sse),$(GATE)-sse-1)
	$(bin)/python -m benchmarks.regress $(addprefix $(GATE)-,1 2 avx2-1 avx2-2 sse-1) --against $(GOLDEN) --update

# No quality against cost where all arms are equally good (tiling) or cost the same (noise, dropped).
# $(GT) is made by benchmarks.holdout, see docs/results/README.md; what has run already is not run again.
results: $(stamp)  ## Studies and the main table on the clips of GT, and their pages in docs/results
	set -e; for study in $(STUDIES); do \
		$(bin)/python -m ablations.run $$study --gt $(GT) --degradation bicubic --no-mlflow \
			$$(test $$study != position || echo --without rope_offset); \
		$(bin)/python -m reports.build runs/studies/$$study --no-html --dpi 100 --tables studies,claims \
			--figures ranks,seams$$(case $$study in tiling|noise*|dropped*) ;; *) echo ,pareto;; esac) \
			--title "Study: $$study" --out runs/reports/$$study; done
	$(bin)/python -m benchmarks.run --gt $(GT) --degradation bicubic --no-mlflow --fetch --out runs/main \
		--metrics psnr,ssim,lpips,niqe,consistency,grid,seam,seconds \
		--variants bicubic,basicvsr:weights=vimeo_bi,realesrgan,no_diffusion,fast,shifted,full
	$(bin)/python -m reports.build runs/main --no-html --dpi 100 --tables quantitative,efficiency,protocols \
		--figures pareto,ranks,seams --title "Main comparison" --out runs/reports/main
	set -e; for page in $(STUDIES) main; do \
		sed -e "s#(figures/#($$page/#" -e '/^Every number/d' runs/reports/$$page/report.md > docs/results/$$page.md; \
		mkdir -p docs/results/$$page; cp runs/reports/$$page/figures/*.png docs/results/$$page; done

# Processes of one thread each: small networks gain little from a second thread, and much from a second process.
test: $(stamp)  ## The quick tests, in TESTS processes
	@OMP_NUM_THREADS=1 $(bin)/python -m pytest -m "not slow" -n $(TESTS) --dist loadfile

test-slow: $(stamp)  ## The slow tests
	@$(bin)/python -m pytest -m slow

# One thread: threads that wait for each other were measured up to 20 times slower beside another busy process.
perf: $(stamp)  ## Time the hot pieces, in about a minute, and keep the times in runs/perf/latest.json
	mkdir -p runs/perf
	OMP_NUM_THREADS=$(THREADS) $(bin)/python -m pytest benchmarks/perf -m "not slow" -rs --benchmark-disable-gc \
		--benchmark-columns=median,iqr,rounds --benchmark-sort=name --benchmark-json=runs/perf/latest.json

perf-check: perf  ## The same, and fail if one is slower than the baseline by its tolerance (TOLERANCE at least)
	$(bin)/python -m benchmarks.perf.ratios runs/perf/latest.json --tolerance $(TOLERANCE)

docs: $(stamp)  ## Build the documentation site into runs/site
	NO_MKDOCS_2_WARNING=1 $(bin)/python -m mkdocs build --strict

lint: $(stamp)  ## ruff and mypy
	$(bin)/python -m ruff check .
	$(bin)/python -m mypy

clean:  ## Remove .venv, caches and build leftovers; runs are kept
	rm -rf $(VENV) .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
