# `make` sets up and runs the whole pipeline; `make test` sets up and runs all checks.
# `make soak` kills every stage again and again; SOAK_SEED=1 make soak does so at other moments.
PYTHON ?= python3
PRESET = $(shell sed -n "s/^preset: *\([a-z0-9_-]*\).*/\1/p" params.yaml)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: all setup test soak

all: setup
	dvc repro
	@echo 'Look at reports/$(PRESET)/evaluate/captions.png and the pictures beside it. Then draw your own:'
	@echo '  source .venv/bin/activate'
	@echo '  stackgan generate "a bird with a red head and blue wings"'

setup: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --editable '.[dev]'
	touch $@

test: setup
	ruff check
	ruff format --check
	mypy
	pytest --numprocesses logical --dist loadfile

soak: setup
	pytest -m soak -s
