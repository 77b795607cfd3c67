# Two commands do all set-up on a fresh machine: `make serve` and `make test`; with Docker, `make up`.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
TORCH ?= torch==2.13.0
RECIPE ?= all
WORKERS ?= 1
PEERS := mosec litserve bentoml
BIN := .venv/bin
# An NVIDIA driver decides which engine is installed; never both.
ENGINE := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)

.PHONY: serve test coverage install train bench bench-peers chaos up down compose-check clean
.DEFAULT_GOAL := serve

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.serve: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(ENGINE),redis,cli]'
	touch $@

.venv/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ .venv/.serve

serve: .venv/.serve
	FIVEFOLD_HOST=$(HOST) FIVEFOLD_PORT=$(PORT) $(BIN)/python -m service

install: .venv/.dev

# Tests that time faults run by themselves, after the rest.
TIMED := tests/chaos tests/broker/test_kept_bytes.py tests/e2e/test_handed_over.py tests/e2e/test_two_processes.py
test: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TIMED:%=--ignore %)
	$(BIN)/python -m pytest $(TIMED)

# The same tests, counted by line and branch: they take half as long again.
coverage: .venv/.dev
	$(BIN)/python -m pytest --cov --cov-report=term

train: .venv/.dev
	$(BIN)/python -m training $(RECIPE)

bench: .venv/.dev
	$(BIN)/python -m benchmarks

# The same echo in other servers: each in an environment of its own, none among the project's dependencies.
bench-peers: .venv/.dev $(PEERS:%=build/peers/%/.installed)
	$(BIN)/python -m benchmarks peers

build/peers/%/.installed:
	$(PYTHON) -m venv build/peers/$*
	build/peers/$*/bin/python -m pip install --quiet --disable-pip-version-check $*
	touch $@

chaos: .venv/.dev
	PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS)

# A password that nobody has seen, as the files that the queue and its clients read. The folder is closed to other
# users of this machine; the files are open to the users inside the containers.
%/secrets/fivefold_redis_url:
	mkdir -p -m 700 $(@D)
	password=$$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n') && \
	echo "requirepass $$password" >$(@D)/valkey_conf && \
	echo "redis://:$$password@valkey:6379/0" >$@
	chmod 644 $(@D)/valkey_conf $@

up: docker/secrets/fivefold_redis_url
	FIVEFOLD_PUBLISH=$(HOST):$(PORT) docker compose up --build --detach --wait --scale worker=$(WORKERS)

down:
	docker compose down

compose-check: .venv/.dev docker/secrets/fivefold_redis_url
	$(BIN)/python -m pytest -q -s tests/e2e/compose_check.py

clean:
	rm -rf .venv runs data build dist .coverage .mypy_cache .ruff_cache .pytest_cache
