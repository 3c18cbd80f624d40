# make train [ARGS="dataset=folder dataset.root=PATH"] · make test [ARGS="-k name"] · make lint
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test faults audit lint docs lock
train: .venv/ready
	@$(BIN)/python train.py $(ARGS)

# Two tests at a time, a core each; the tests of a file share what they make.
test: export OMP_NUM_THREADS := 1
test: .venv/ready
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# What happens when things go wrong, measured: docs/reliability.md, which it writes anew, in about half an hour.
faults: .venv/ready
	@$(BIN)/python scripts/faults $(ARGS)

audit: .venv/ready
	@$(BIN)/python scripts/audit.py

lint: .venv/ready
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	@MYPYPATH=tests $(BIN)/mypy --explicit-package-bases tests

# The documentation site, in site/.
docs: export NO_MKDOCS_2_WARNING := 1
docs: .venv/ready
	@$(BIN)/python -m mkdocs build --strict --quiet $(ARGS)

# Hash-locked, and made anew whenever the lock changes.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv --upgrade-deps .venv # a pip of today takes half the time
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Needs uv on the path. One lock for Linux, macOS and Windows; it names no index address. What serves, and what builds the
# image that serves, have locks of their own, of the same versions.
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade
lock:
	$(COMPILE) pyproject.toml --extra dev --output-file requirements.lock
	$(COMPILE) deploy/requirements.in --constraint requirements.lock --output-file deploy/requirements.lock
	echo hatchling | $(COMPILE) - --constraint requirements.lock --output-file deploy/build.lock
