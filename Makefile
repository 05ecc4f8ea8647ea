# Everything runs in .venv, which is made on first use. `make PYTHON=python3.12 test` makes it of another Python.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check format clean

help: ## list these commands
	@echo "usage: make COMMAND"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## train a small network on synthetic scenes, print its IoU, draw its predictions (minutes)
	rm -rf runs/demo
	$(BIN)/dla fit --config recipes/segmentation/scenes.yaml --trainer.default_root_dir runs/demo

# One thread in each of two processes gets through the tests faster than one process with two.
test: $(READY) ## run the tests but the slow ones (about a quarter of an hour on two cores)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal

test-slow: $(READY) ## run the slow tests
	$(BIN)/pytest -m slow

check: $(READY) ## look for faults without running: format, lint, types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(READY) ## write the files in the project's format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean: ## remove .venv, caches, builds and the demo's run; other runs stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build dist runs/demo
	find src tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is touched last: where an install fails, the next `make` starts it again.
$(READY): pyproject.toml
	@echo "Installing into .venv. The first time this downloads about 3 GB (torch), which may take ten minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -e '.[dev]'
	@touch $@
