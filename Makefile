# make train [ARGS="dataset=folder dataset.root=PATH"] · make test [ARGS="-k name"] · make lint · make docs
PYTHON ?= python3
BIN := .venv/bin

# Processes import torch faster if its modules are compiled; tests start many.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: train test faults audit lint docs lock
train: .venv/ready
	@$(BIN)/python train.py $(ARGS)

# Two processes with one thread each; the tests of a file run in one process and share their fixtures.
test: export OMP_NUM_THREADS := 1
test: .venv/ready
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# Run the fault-injection suite and regenerate docs/reliability.md, in about half an hour.
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

# Hash-locked; installed again whenever the lock changes.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv --upgrade-deps .venv # a current pip installs twice as fast
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Requires uv. One lock for Linux, macOS and Windows, without index addresses. The packages that serve, and those that build
# the serving image, have their own locks with the same versions.
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade
lock:
	$(COMPILE) pyproject.toml --extra dev --output-file requirements.lock
	$(COMPILE) deploy/requirements.in --constraint requirements.lock --output-file deploy/requirements.lock
	echo hatchling | $(COMPILE) - --constraint requirements.lock --output-file deploy/build.lock
