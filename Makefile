# Two commands do all set-up on a fresh machine: `make serve` and `make test`.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
TORCH ?= torch==2.13.0
RECIPE ?= all
PEERS := mosec litserve bentoml
BIN := .venv/bin
# An NVIDIA driver decides which engine is installed; never both.
ENGINE := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)

.PHONY: serve test install train bench bench-peers clean
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

test: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
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

clean:
	rm -rf .venv runs data build dist .coverage .mypy_cache .ruff_cache .pytest_cache
