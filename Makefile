# Everything happens in .venv, made from the lock files; a second run finds it done.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/ready
LOCKS := requirements.lock torch-cpu.lock torch.lock
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps

.PHONY: setup demo test lint docs clean

setup: $(READY)

$(READY): $(LOCKS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' || { echo "the tested environment needs Python 3.11.5 or later: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) --require-hashes --requirement requirements.lock
	@# The small build of torch where one is offered, else PyPI's, on Linux with CUDA.
	$(PIP) --require-hashes --requirement torch-cpu.lock 2>/dev/null || $(PIP) --require-hashes --requirement torch.lock
	$(PIP) --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/demo.sh

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

docs: $(READY)
	@# Not --quiet: it keeps the warnings from --strict, which then fails at nothing.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv demo site
