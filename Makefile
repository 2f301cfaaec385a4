# Everything a contributor runs. Needs CPython 3.11 or later, make, and an index that pip can install from.
VENV ?= .venv
# The interpreter that makes the virtual environment: python3.11 if there is one, else python3.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest

# Short enough to wait for; `make chaos` takes its time.
CHAOS_SECONDS ?= 300

# Processes that share the test files of `make test`; 0: none but its own. Many tests wait for programs, so that three on two cores
# take little more than half the time of one. In the order of their names, so that the short ones of tests/unit come last.
TEST_WORKERS ?= 3

# Tests that run programs on a busy machine sometimes look too soon: what fails is tried once more, and listed at the end, where each
# line is a test to mend. A ledger that does not balance, and what depends on no clock, fails at once.
AGAIN := --reruns 1 --rerun-except '(lost|doubled|reordered)=[1-9]' --rerun-exclude-path tests/simulation \
  --rerun-exclude-path tests/tidy -r R

.DEFAULT_GOAL := help
.PHONY: help install proto docs lint types servers test long quick demo demo-zookeeper bench chaos clean

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

install: $(VENV)/.installed ## a virtual environment in .venv with everything in it

# The stamp comes last, so that an interrupted installation is not taken for a finished one; it is made again when
# dependencies or entry points change. A half-made
# environment is repaired, not downloaded anew.
$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo 'make: no python3 on PATH; install CPython 3.11, or say make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is $$("$(PYTHON)" -V 2>&1), Qanat needs CPython 3.11 or later; say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PY)" -m pip --version >/dev/null 2>&1 || { rm -rf "$(VENV)" && "$(PYTHON)" -m venv "$(VENV)"; } || \
	  { echo "make: $(PYTHON) -m venv failed; on Debian and Ubuntu install python3.11-venv" >&2; exit 1; }
	"$(PY)" -m pip install --quiet --disable-pip-version-check --no-input --editable '.[dev]'
	@touch $@

proto: install ## generate qanat/wire from proto/
	$(PY) -m grpc_tools.protoc -Iproto/qanat --python_out=qanat/wire --pyi_out=qanat/wire proto/qanat/v1/*.proto

docs: install ## generate docs/reference, docs/metrics.md and the drawings from the code
	$(PY) docs/reference.py
	$(PY) docs/state_machines.py
	$(PY) docs/metrics_page.py

lint: install ## ruff: rules and format
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

types: install ## mypy, strict, on our packages
	$(VENV)/bin/mypy

servers: ## the servers that tests run against, where they may be installed
	@sh tests/servers.sh

test: install servers ## the tests, with the short chaos tests
	$(PYTEST) tests -m "not long" -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(AGAIN)

long: install servers ## the tests that `make test` leaves out: the same on an ensemble, large values
	$(PYTEST) tests -m long $(AGAIN)

quick: install ## the tests that take seconds
	$(PYTEST) -q tests/unit tests/contract tests/tidy

demo: install ## a small cluster on this machine: configured, changed, broken, and a ledger
	$(VENV)/bin/qanat demo

demo-zookeeper: install ## the same with three ZooKeeper servers and three masters
	@sh tests/servers.sh zookeeper
	$(VENV)/bin/qanat demo --zookeeper

bench: install servers ## speed and memory, latency, channels, ZooKeeper, failover
	$(PY) bench/throughput.py
	$(PY) bench/latency.py
	$(PY) bench/channel.py
	$(PY) bench/stores.py
	$(PY) bench/failover.py

chaos: install ## processes killed at random for CHAOS_SECONDS=300
	QANAT_CHAOS_SECONDS=$(CHAOS_SECONDS) $(PYTEST) tests/chaos --timeout=$$(( $(CHAOS_SECONDS) * 3 + 300 ))

clean: ## everything that make can make again, the virtual environment too
	rm -rf "$(VENV)" build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis bench-data demo-data
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
