# Every verb of the project, one line each. Needs Debian 12 with Python 3.11 (venv), JDK 17, Maven and a C toolchain.
PYTHON := $(shell command -v python3.11 || echo python3)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench up down status clean

help:          ## list the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup:         ## make .venv from the lock file and fetch all servers into the cache (about a second when done)
	@$(PYTHON) stack/setup.py

demo: setup    ## start everything and play a market through it
	@$(BIN)/tickhouse demo

test: setup    ## every test, side by side on the real servers that they share; about eight minutes
	@$(BIN)/pytest tests -n 3

check: setup   ## format, lint, types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

bench: setup   ## measure against the floor of this machine; writes bench/latest.json
	@$(BIN)/python -m bench

up: setup      ## start profile core
	@$(BIN)/tickhouse up

down: setup    ## stop everything; data stays
	@$(BIN)/tickhouse down

status: setup  ## show what runs and what the stores hold
	@$(BIN)/tickhouse status

clean:         ## stop everything; remove data, logs, secrets and .venv (the cache outside the clone stays)
	@if [ -x $(BIN)/tickhouse ]; then $(BIN)/tickhouse down --purge; fi && rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
