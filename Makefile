# Every verb of the project, one line each. They need Debian 12 with Python 3.11 (and venv), JDK 17,
# Maven and a C toolchain.
PYTHON := $(shell command -v python3.11 || echo python3)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long check bench tour up down status notebook clean

help:          ## list these verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup:         ## make .venv from the lock file, download all servers into the cache (later runs: a second)
	@$(PYTHON) stack/setup.py

demo: setup    ## play a synthetic market through a lakehouse of its own, in .tickhouse-demo
	@$(BIN)/tickhouse demo

test: setup    ## run the tests in parallel on real servers that they share; about 25 minutes
	@$(BIN)/pytest tests -n 3 -m "not long"

test-long: setup ## run the tests that take minutes each: simulated weeks, damaged checkpoints
	@$(BIN)/pytest tests -m long

check: setup   ## check format, lint, types, layers of imports, licences, the Compose file
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/pip-licenses --summary && $(BIN)/compose-lint check -q --skip-suppressed --no-env --strict-config --fail-on medium docker-compose.yml

tour: setup    ## record the demo again: docs/tour/demo.cast, pictures of the pages, the picture of the lineage
	@$(BIN)/python -m tour

bench: setup   ## run the benchmarks, each against a floor on this machine; write bench/latest.json
	@$(BIN)/python -m bench

up: setup      ## start the services of profile core
	@$(BIN)/tickhouse up

down: setup    ## stop all services; data stays
	@$(BIN)/tickhouse down

status: setup  ## show which services run and what the stores hold
	@$(BIN)/tickhouse status

# It listens on loopback only, makes a token at each start, and asks no server for news or extensions.
notebook: setup ## start JupyterLab on this machine only; the address that it prints has a token
	@$(BIN)/jupyter lab --ip=127.0.0.1 --port=$(or $(NOTEBOOK_PORT),8888) --no-browser --ServerApp.root_dir=$(CURDIR) \
		--LabApp.default_url=/lab/tree/notebooks --LabApp.news_url=None --LabApp.extension_manager=readonly \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(if $(filter 0,$(shell id -u)),--allow-root)

clean:         ## stop all services, the demo's too; remove data, logs, secrets and .venv (the cache stays)
	@if [ -x $(BIN)/tickhouse ]; then $(BIN)/tickhouse down --purge && $(BIN)/tickhouse --demo down --purge; fi && rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
