# Everything starts here. A bare clone needs only `make repro` and `make test`; `make` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help setup repro metrics plots compare test smoke relock verify study studies pages docs-check watch lint lock

# `python` and `dvc`, here and in the commands of dvc.yaml, are those of .venv
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONUNBUFFERED := 1
# or every process would compile the project again
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3.11 python3 python3.12 python3.13
SUITABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup:  ## .venv with everything in requirements.txt and the command kinetoken (other targets do this by themselves)
	@cmp -s requirements.txt .venv/installed.txt || $(MAKE) --no-print-directory .venv/installed.txt

.PHONY: .venv/installed.txt
.venv/installed.txt:
	@[ -x .venv/bin/python ] || { \
	  for python in $(PYTHON); do \
	    $$python -c '$(SUITABLE)' 2>/dev/null && { found=$$python; break; }; \
	  done; \
	  [ -n "$$found" ] || { echo "error: no Python 3.11, 3.12 or 3.13 with venv found (tried: $(PYTHON));" \
	    "install one, or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	  echo "setup: making .venv with $$($$found --version)"; \
	  $$found -m venv .venv; }
	@[ -x .venv/bin/uv ] || .venv/bin/python -m pip install --disable-pip-version-check uv
	uv pip install --python .venv/bin/python --compile-bytecode -r requirements.txt
	uv pip install --python .venv/bin/python --quiet --no-deps --no-build-isolation --editable .
	@cp requirements.txt $@

repro: setup  ## run what changed (JOBS=2: stages side by side; PROFILE=gpu or smoke: that profile over params.yaml first)
	@$(if $(PROFILE),python -m kinetoken.core.params overlay profiles/$(PROFILE).yaml)
	@$(if $(JOBS),python -m tools.jobs --jobs $(JOBS) --seconds profiles/stage_seconds.json,dvc repro) $(ARGS)
	@echo "report: plots/report.html    numbers: make metrics    curves: dvc plots show"

metrics: setup  ## the headline numbers beside baselines, upper bounds, intervals and targets
	@python -m kinetoken.report

plots: setup  ## DVC's plots as one page that needs no network: dvc_plots/offline.html (A=... B=... compares revisions)
	@python -m tools.plots $(A) $(B)

compare: setup  ## what changed between two revisions, and which results by more than their interval: make compare A=main B=.
	@kinetoken compare $(A) $(B) --force $(ARGS)

WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

test: setup  ## all tests; JUnit under run_info/tests (ARGS="-k classifier" chooses, COVERAGE=1 counts covered lines)
	@mkdir -p run_info/tests
	@pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --junitxml=run_info/tests/junit.xml \
	  $(if $(filter 1,$(COVERAGE)),--cov --cov-report=term:skip-covered --cov-report=json:run_info/tests/coverage.json) \
	  $(ARGS)

smoke: setup  ## the whole pipeline with tiny params in a clone under .smoke, about 3 minutes
	@python -m tools.smoke

relock: setup  ## record an edit that changes no result in dvc.lock, once the smoke profile proves it
	@python -m tools.relock

verify: setup  ## re-hash outputs and cache, name what is damaged (REPAIR=1: restore it, or move it to .damaged)
	@python -m tools.verify$(if $(filter 1,$(REPAIR)), --repair)

study: setup  ## run a longer comparison: make study NAME=... (STAGE=... and what it needs, of it)
	@[ -f "studies/$(NAME)/dvc.yaml" ] || { echo "error: make study NAME=..., one of:" $$(cd studies && ls -d */ | tr -d /) >&2; exit 1; }
	@python -m tools.studies run $(NAME) $(STAGE)

studies: setup  ## what the longer comparisons ask, which commit made them, which are stale
	@python -m tools.studies

pages: setup  ## put results into README.md and docs/, where tables and numbers are generated
	@python -m tools.pages

docs-check: setup  ## hold every command and link of README.md and docs/ against what there is
	@python -m tools.docs_check

watch: setup  ## what every stage is doing, on one page
	@python -m tools.watch

lint: setup  ## ruff and mypy
	@ruff check .
	@mypy

lock: setup  ## requirements.txt from pyproject.toml, versions kept (ARGS="--upgrade-package torch" moves one)
	@UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --quiet --universal --all-extras pyproject.toml \
	  -o requirements.txt $(ARGS)
	@! grep -nE '://|--(extra-)?index|--find-links' requirements.txt || \
	  { echo "error: requirements.txt must name no address" >&2; exit 1; }
