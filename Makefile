# Two commands do everything, set-up included: `make run` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help install run recover test slow proof loadtest report lint format lock clean

PYTHON ?= python3
VENV := .venv
CORES ?= 8
EXPERIMENT ?= digits
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed  ## Make .venv with the exact versions of requirements.lock

# The lock is a list of constraints: pip has one version to choose for each package. Where torch is a CUDA build it
# brings the NVIDIA packages, whose versions stand there too.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[all,dev]'
	@touch $@

run: install  ## Build every experiment of config/workflow.yaml, from raw data to a gated bundle
	snakemake --cores $(CORES)
	@echo; echo "Done. Look at results/report/summary.html; what is served lies in results/bundle/."

recover: install  ## Go on after Snakemake itself was killed: release its lock, then build what is missing
	snakemake --unlock
	$(MAKE) run

test: install  ## Run the tests for everyone (under 12 minutes)
	pytest -n 2 --dist loadfile -m 'not slow and not proof'

slow: install  ## Run the tests that take longer, too long to wait for at every change
	pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

proof: install  ## Run what is too long for every change: further cases, full counts (hours)
	IMAGEWRIGHT_PROOF=1 pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'slow or proof'

loadtest: install  ## Ask a served bundle as 1 to 64 users would, and check every answer (EXPERIMENT=digits)
	python benchmarks/loadtest.py --experiment $(EXPERIMENT)

report: install  ## Write report.html: the DAG, the pictures and the numbers on one page
	snakemake --report report.html

lint: install  ## Check style, types, floors and spelling
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	snakefmt --check Snakefile workflow
	snakemake --lint
	hadolint container/*/Dockerfile
	codespell

format: install  ## Put the code into its standard form
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

lock: install  ## Choose the newest allowed versions anew and write requirements.lock
	pip install --quiet uv
	uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header pyproject.toml -o requirements.lock

clean:  ## Remove what the workflow made; raw data and .venv stay
	find results -mindepth 1 ! -name .gitignore -delete
	rm -rf logs runs .snakemake report.html
