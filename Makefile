# Everything a person or CI does here. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export PYTHONPATH := tests/support

-include mk/*.mk

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | sort | expand -t 18

# --- the Python environment -------------------------------------------------------------------
.PHONY: venv
venv: $(VENV)/.installed ## Make the Python environment (.venv)

$(VENV)/.installed: requirements.lock pyproject.toml mk/venv.sh
	@mk/venv.sh "$(PYTHON)" "$(VENV)"
	@touch $@

.PHONY: lock
lock: venv ## Resolve the dependencies anew into requirements.lock and requirements-image.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	  --group dev --group docs pyproject.toml -o requirements.lock --upgrade
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	  -c requirements.lock pyproject.toml -o requirements-image.lock

# --- checks -------------------------------------------------------------------------------------
.PHONY: lint
lint: venv ## Style, types, import rules, shell
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: format
format: venv ## Format and fix what can be fixed
	$(BIN)/ruff check --fix-only -q
	$(BIN)/ruff format -q

.PHONY: unit
unit: venv ## Unit and contract tests (seconds)
	$(BIN)/pytest tests/unit tests/contract tests/fuzz -n auto -q

.PHONY: integration
integration: venv ## Tests against real servers on loopback
	$(BIN)/pytest tests/integration -q

.PHONY: e2e
e2e: venv ## Tests on a real one-node cluster (root on Linux)
	$(BIN)/pytest tests/e2e -q

.PHONY: test
fuzz: venv ## Look for input that breaks a reader, a minute each (needs atheris: uv pip install atheris)
	$(BIN)/python tests/fuzz/fuzz.py

test: ## Everything: installs what it needs, lint, unit, contract, integration, end to end
	@mk/test.sh

# --- generated files ------------------------------------------------------------------------------
.PHONY: crds
crds: venv ## Regenerate the custom resource definitions from the models
	$(BIN)/python -m plimsoll.api.crd --out crds
	cp crds/*.yaml helm/plimsoll/files/crds/

.PHONY: docs
docs: venv ## Regenerate the reference pages and build the documentation (docs/_build/html)
	$(BIN)/python -m docs_reference
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

# --- the demo ---------------------------------------------------------------------------------------
.PHONY: demo
demo: ## The main job on a real one-node cluster, from nothing to a table of results
	@mk/demo.sh

.PHONY: demo-down
demo-down: ## Stop the demo's cluster and remove what it made
	@mk/demo-down.sh

.PHONY: bench
bench: venv ## Measure speed and memory; prints ratios
	@for b in bench/*.py; do echo "== $$b"; $(BIN)/python "$$b"; done
