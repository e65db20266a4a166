PYTHON ?= python3
NAME ?= tiny-clips-layerwise-flips-s0

VENV := .venv
BIN := $(VENV)/bin
DB := outputs/mlflow.db
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: demo test soak lint docs wheel lowest ui help

help: ## list these targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1: \2/p' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## search the tiny pair and export its best recipe to outputs/export
	$(BIN)/merit-opt search
	$(BIN)/merit-opt export recipe=study:$(NAME) out=outputs/export

test: $(VENV)/.dev ## run the tests
	$(BIN)/pytest

soak: $(VENV)/.dev ## workers and servers killed for five minutes: nothing may be lost, doubled or left
	$(BIN)/python experiments/0012-soak/run.py --minutes 5

lint: $(VENV)/.dev ## ruff, import-linter, bandit, a search for secrets, pyright
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml merit_opt
	git ls-files -z | xargs -0 .ci/secrets
	$(BIN)/pyright --project pyproject.toml --pythonpath $(BIN)/python

docs: $(VENV)/.docs ## the documentation as a site, in build/site; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

wheel: $(VENV)/.release ## build, check, and try the wheel in an environment of its own: some minutes, about 5 GB
	PATH="$(abspath $(BIN)):$$PATH" .ci/wheel

lowest: ## the tests with the lowest versions that pyproject claims, in an environment of its own: some minutes more than test, about 8 GB
	PYTHON="$(PYTHON)" .ci/lowest

ui: $(VENV)/.run ## browse the studies in MLflow
	@test -f $(DB) || { echo "$(DB) is not there yet: make demo writes it"; exit 1; }
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --backend-store-uri sqlite:///$(DB) --host 127.0.0.1

$(VENV)/.run: pyproject.toml requirements.lock
	@echo "installing into $(VENV): about 5 GB, some minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -c requirements.lock -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "installing the development tools into $(VENV)"
	@$(PIP) install -c requirements.lock -e '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	@echo "installing what makes the site into $(VENV)"
	@$(PIP) install -c requirements.lock -e '.[docs]'
	@touch $@

$(VENV)/.release: $(VENV)/.run
	@echo "installing what makes a release into $(VENV)"
	@$(PIP) install -c requirements.lock -e '.[release]'
	@touch $@
