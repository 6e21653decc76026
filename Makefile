# Everything here needs Python 3.10 or later and make, nothing else: the first call sets up .venv, later ones find it ready.

PYTHON ?= python3
TESTS ?= tests
ARGS ?=
SEEDS ?=
FIRST_SEED ?= 1

VENV = .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
LOCK_VENV = build/lock
PIP_FLAGS = --quiet --quiet --disable-pip-version-check

.POSIX:
.SUFFIXES:
.PHONY: help run demo test simulate mutants lint format lock clean

help: ## Say what can be made
	@sed -n 's/^\([a-z]*\):[^#]*## /\1	/p' Makefile | awk -F '\t' '{ printf "  make %-9s %s\n", $$1, $$2 }'

run: $(READY) ## Start a cluster on this machine; Ctrl-C ends it (ARGS="--help" shows what can be chosen)
	@$(BIN)/python -m kvsd.local $(ARGS)

demo: $(READY) ## Show what the store does when nodes die and come back (ARGS as for run)
	@$(BIN)/python -m kvsd.demo $(ARGS)

test: $(READY) ## Run all tests, or some: make test TESTS=tests.unit
	@$(BIN)/python -m twisted.trial $(TESTS)

simulate: $(READY) ## Put simulated clusters through 2000 schedules of faults, or SEEDS=20000, from FIRST_SEED=1 on
	@seeds="$(SEEDS)"; $(BIN)/python -m kvsd.simulate --seed $(FIRST_SEED) --seeds "$${seeds:-2000}"

mutants: $(READY) ## Plant defects and see that simulated schedules find them: at most 60 each, or SEEDS=200, from FIRST_SEED=1 on
	@seeds="$(SEEDS)"; $(BIN)/python -m tests.simulation.mutants --first-seed $(FIRST_SEED) --schedules "$${seeds:-60}"

lint: $(READY) ## Check style, types and the direction of imports
	@status=0; \
	$(BIN)/python -m ruff check --quiet --output-format concise . || status=1; \
	$(BIN)/python -m ruff format --quiet --check . || status=1; \
	$(BIN)/python -m mypy --no-error-summary || status=1; \
	imports=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$imports"; status=1; }; \
	exit $$status

format: $(READY) ## Lay out the code and mend what can be mended without thought
	@$(BIN)/python -m ruff check --quiet --fix-only .
	@$(BIN)/python -m ruff format --quiet .

lock: ## Write requirements.lock anew, with the newest versions that suit Python 3.10 and later
	@$(PYTHON) -m venv $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python -m pip install $(PIP_FLAGS) uv
	@$(LOCK_VENV)/bin/uv pip compile --quiet --universal --python-version 3.10 --upgrade --generate-hashes --extra dev --no-config --system-certs \
		--custom-compile-command "make lock" --output-file requirements.lock setup.cfg

clean: ## Remove all that was made here, .venv included; the data of "make run", in .kvsd, stays
	@rm -rf $(VENV) .ci-out build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -f twisted/plugins/dropin.cache

# A Python that is too old or comes without venv is named before anything is made; a .venv left half made is made anew.
$(READY): requirements.lock setup.cfg pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is not there; say which Python to use: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "kvsd needs Python 3.10 or later; $(PYTHON) is `$(PYTHON) -V 2>&1`. Choose another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
		{ echo "$(PYTHON) can't make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; a minute or so)"
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install $(PIP_FLAGS) --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation --editable .
	@touch $(READY)
