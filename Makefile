# Everything a person or a build machine runs. Works with standard input closed and with the package index pip is set up for.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.ONESHELL:

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell scripts/find-python)
ARGS ?=
TESTS ?= tests
WORKERS ?= 2
SEED ?= $(shell date +%j)
MINUTES ?= 10
CODE := fhir_tracker mappings subscriptions api

.PHONY: help demo test check sbom bench agreement soak clean constraints servers

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Start a simulated EHR and the tracker, and open a live demo day (ARGS=--check runs it without a person)
	@exec $(BIN)/fhir-tracker demo $(ARGS)

test: $(VENV)/.dev servers ## Run every test against real databases, servers and a browser (TESTS=tests/rules runs a part, ARGS goes to pytest)
	@scripts/run-tests $(BIN)/python $(TESTS) -n $(WORKERS) --dist loadfile $(ARGS)

check: $(VENV)/.dev ## Lint, formatting, types, import contracts, Compose file, size budgets, weaknesses of code and dependencies, SBOM
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_compose.py docker-compose.yml
	$(BIN)/python scripts/budgets.py
	$(BIN)/bandit --quiet --severity-level medium --confidence-level medium --recursive $(CODE)
	$(BIN)/python -m scripts.dependencies audit
	$(BIN)/python -m scripts.dependencies sbom build/sbom.json

sbom: $(VENV)/.dev ## Write the list of everything the product is made of (CycloneDX) to build/sbom.json
	@$(BIN)/python -m scripts.dependencies sbom build/sbom.json

bench: $(VENV)/.dev servers ## Measure: prints a table of timings (ARGS=... goes to pytest)
	@$(BIN)/python -m pytest tests/benchmarks -q -s -o 'python_files=bench_*.py' $(ARGS)

agreement: $(VENV)/.dev servers ## Compare the check of bodies with HL7's validator on many changed resources (ARGS="--seed 7 --us-core FOLDER")
	@$(BIN)/python -m scripts.agreement $(ARGS)

soak: $(VENV)/.dev servers ## Let everything go wrong by seeded chance for ten minutes, then real HAPI in long outages (SEED=7 MINUTES=1)
	@$(BIN)/python -m tests.faults.soak --seed $(SEED) --minutes $(MINUTES)
	$(BIN)/python -m pytest tests/faults -q -o 'python_files=soak_*.py' $(ARGS)

clean: ## Remove the virtual environment and everything built
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

constraints: $(VENV)/.dev ## Take newer versions of everything and pin them again
	@$(BIN)/pip install --quiet --upgrade --upgrade-strategy eager --no-build-isolation --editable '.[demo,dev]'
	{ head -1 constraints.txt; $(BIN)/pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt

servers: # PostgreSQL, Redis, Chromium and Java, which the tests start for themselves
	@scripts/install-servers

$(VENV)/.demo: pyproject.toml constraints.txt scripts/make-venv
	@scripts/make-venv '$(PYTHON)' $(VENV) demo
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt scripts/make-venv
	@scripts/make-venv '$(PYTHON)' $(VENV) demo,dev
	touch $@ $(VENV)/.demo
