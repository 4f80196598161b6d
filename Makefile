# Each verb is a line or two over the virtual environment in .venv, which is made on demand.
# PYTHON chooses the interpreter (3.11 or newer), ARGS is handed to the tool behind the verb.

PYTHON ?= python3
ARGS ?=
MINUTES ?= 10

PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV := .venv
BIN := $(VENV)/bin
# The name carries the version, so that another PYTHON means another environment.
VENV_STAMP := $(VENV)/.installed-$(PYTHON_VERSION)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TYPED := $(wildcard common cloudcore edgecore edgesite deploy tests benchmarks)
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make requirements"

.DEFAULT_GOAL := help
.PHONY: help venv requirements format lint audit types contracts unit e2e containers test chaos fuzz \
	cover bench metrics demo images sbom wheel reference units bundle controlplane clean

help: ## show this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## /\1\t/' \
		| awk -F '\t' '{ printf "%-14s %s\n", $$1, $$2 }'

venv: $(VENV_STAMP) ## make .venv with everything pinned in requirements/dev.txt

# Debian keeps ensurepip in a package of its own: without it, the pip that is there fills the
# environment from outside. What setuptools warns of at each editable install is as it should be.
$(VENV_STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cloudedge needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	@test -e $@ || { echo "making $(VENV) with Python $(PYTHON_VERSION)"; \
		$(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 \
		|| { $(PYTHON) -m venv --clear --without-pip $(VENV) \
		&& $(PYTHON) -m pip --quiet --python $(BIN)/python install pip; } \
		|| { echo "cannot make $(VENV): apt-get install python3-venv" >&2; exit 1; }; }
	$(PIP_INSTALL) --require-hashes --requirement requirements/dev.txt
	PYTHONWARNINGS=ignore $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

requirements: $(VENV_STAMP) ## compile requirements/*.txt anew
	$(COMPILE) pyproject.toml --extra cloud --extra edge --extra dev -o requirements/dev.txt
	$(COMPILE) pyproject.toml --extra cloud -c requirements/dev.txt -o requirements/cloud.txt
	$(COMPILE) pyproject.toml --extra edge -c requirements/dev.txt -o requirements/edge.txt
	$(COMPILE) requirements/go.in -o requirements/go.txt

format: $(VENV_STAMP) ## rewrite the sources as the formatter wants them
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: audit ## style, formatting and spelling; and audit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

audit: $(VENV_STAMP) ## whether a pinned package has a known vulnerability, where that can be asked
	$(BIN)/python -m deploy.audit requirements/dev.txt

types: $(VENV_STAMP) ## mypy --strict, tests included
	$(BIN)/mypy $(TYPED)

contracts: $(VENV_STAMP) ## who may import whom
	$(BIN)/lint-imports

unit: $(VENV_STAMP) ## all tests that need no control plane
	$(BIN)/python -m pytest -m "not e2e and not bench" $(ARGS)

e2e: $(VENV_STAMP) controlplane ## all tests on the real control plane
	$(BIN)/python -m pytest -m e2e $(ARGS)

containers: $(VENV_STAMP) controlplane ## all tests on real containers
	$(BIN)/python -m pytest -m containers $(ARGS)

test: lint types contracts controlplane ## everything that has to hold before a commit
	$(BIN)/python -m pytest -m "not bench" $(ARGS)

metrics: $(VENV_STAMP) ## write docs/reference/metrics.md anew
	$(BIN)/python -m deploy.monitoring.reference

chaos: $(VENV_STAMP) ## random faults in a made-up network (SEED, SCHEDULES and STEPS choose which)
	$(BIN)/python -m tests.simulation

fuzz: $(VENV_STAMP) ## bytes at random where strangers may send some (MINUTES in all, TARGETS)
	$(BIN)/python -m tests.fuzz $(MINUTES) $(TARGETS)

cover: $(VENV_STAMP) controlplane ## the tests, with branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not bench" $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(VENV_STAMP) controlplane ## the figures that we promise
	$(BIN)/python -m benchmarks $(ARGS)

demo: $(VENV_STAMP) controlplane ## the whole system at work, on this machine
	$(BIN)/python -m deploy.devcluster.demo $(ARGS)

units: $(VENV_STAMP) ## what systemd says of the units, and how much they expose
	$(BIN)/python -m deploy.units

bundle: $(VENV_STAMP) ## all that an edge needs to be installed without a network, in build/bundle
	$(BIN)/python -m deploy.bundle build/bundle

sbom: $(VENV_STAMP) ## what the daemons consist of, as CycloneDX in build/sbom
	@mkdir -p build/sbom
	@for one in cloud edge; do PYTHONWARNINGS=ignore $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml \
		--output-reproducible --output-format JSON --output-file build/sbom/$${one}core.cdx.json \
		requirements/$$one.txt && echo build/sbom/$${one}core.cdx.json || exit 1; done

reference: $(VENV_STAMP) ## write docs/reference/configuration.md from the code
	$(BIN)/python -m deploy.reference

wheel: $(VENV_STAMP) ## both daemons as a wheel in dist
	$(BIN)/python -m deploy.wheel dist

images: $(VENV_STAMP) ## container images of both daemons, in build/images (no engine needed)
	$(BIN)/python -m deploy.images $(ARGS)

controlplane: $(VENV_STAMP) ## find or build etcd and the Kubernetes control plane
	$(BIN)/python -m deploy.devcluster build

clean: ## remove what these verbs made in the checkout
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* htmlcov .benchmarks .hypothesis \
		.mypy_cache .pytest_cache .ruff_cache .import_linter_cache
