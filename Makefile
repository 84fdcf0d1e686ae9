# `make` sets up and runs the whole pipeline; `make test` sets up and runs all checks.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: all setup test

all: setup
	dvc repro

setup: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --editable '.[dev]'
	touch $@

test: setup
	ruff check
	ruff format --check
	mypy
	pytest
