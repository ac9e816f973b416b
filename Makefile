# Everything a newcomer or a developer does. `make` alone lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STATIC := services/api_gateway/static
WEB_SOURCES := $(shell find frontend/src frontend/public -type f 2>/dev/null | sed 's/ /\\ /g') $(wildcard frontend/*.json frontend/*.ts frontend/index.html)

.DEFAULT_GOAL := help
.PHONY: help install dev web up down status doctor demo test test-torch test-nemo test-containers check bench clean

help: ## List what there is to do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	@echo "==> making the virtual environment ($(VENV))"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with: make up PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements/cpu.txt pyproject.toml | $(BIN)/python
	@echo "==> installing Python packages (some 600 MB on the disk, one to two minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/cpu.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@echo "==> installing what tests and checks need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.models: models/manifest.json $(VENV)/.runtime
	@echo "==> fetching the small default models (390 MB)"
	@$(BIN)/nemo models pull
	@touch $@

$(STATIC)/index.html: $(WEB_SOURCES) | $(VENV)/.runtime
	@echo "==> building the web page"
	@scripts/build_web

install: $(VENV)/.runtime $(VENV)/.models ## Install without starting

dev: $(VENV)/.dev $(VENV)/.models ## Install with everything for development

web: $(STATIC)/index.html ## Build the web page

up: install web ## Set up what is missing and start the whole platform
	@$(BIN)/nemo up $(ARGS)

down: ## Stop it
	@$(BIN)/nemo down

status: ## How each service is
	@$(BIN)/nemo status

doctor: ## What is wrong and what to do
	@$(BIN)/nemo doctor

demo: ## Load a demo conversation and ask about it (the platform must be up)
	@$(BIN)/nemo demo

test: dev web ## Run all tests
	@scripts/test

test-torch: $(VENV)-torch/.done ## The tests that need PyTorch, in an environment of their own (a GPU is used where there is one)
	@$(VENV)-torch/bin/python -m pytest -q --noconftest -p no:cacheprovider tests/gpu

$(VENV)-torch/.done:
	@echo "==> installing PyTorch (about 1 GB on the disk)"
	@$(PYTHON) -m venv $(VENV)-torch
	@$(VENV)-torch/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy pytest pytest-asyncio pytest-timeout
	@touch $@

test-nemo: $(VENV)-nemo/.done ## The tests that need NVIDIA NeMo, in an environment of their own; offline once it is installed
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(VENV)-nemo/bin/python -m pytest -q --noconftest -p no:cacheprovider -m nemo tests/unit/transcription/test_engines.py tests/unit/transcription/test_nemo.py

$(VENV)-nemo/.done: requirements/nemo.in
	@echo "==> installing PyTorch and NVIDIA NeMo (2.3 GB on the disk, about five minutes)"
	@$(PYTHON) -m venv $(VENV)-nemo
	@$(VENV)-nemo/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(VENV)-nemo/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/nemo.in
	@touch $@

test-containers: ## Build, start, attack and kill the containers (root, Debian; some ten minutes the first time)
	@scripts/compose_test

check: dev ## Lint, types, import rules, generated files
	@scripts/check

bench: dev ## Measure; results go to docs/benchmarks
	@scripts/bench/run

clean: ## Remove what was built; data and models stay
	@rm -rf $(VENV) $(VENV)-torch $(VENV)-nemo $(STATIC) frontend/node_modules frontend/dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
