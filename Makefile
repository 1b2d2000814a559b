# Two commands are all the set-up there is:
#   make rehearse   runs the whole runbook on an embedded rehearsal cluster
#   make test       passes the tests
# Each sets everything up first, from python >= 3.11 and pip's index alone.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# What makes the site has an environment of its own.
SITE   := build/venv-site
# Without what papermill leaves beside them.
NOTEBOOKS := $(filter-out notebooks/out%,$(wildcard notebooks/*.ipynb))

WORKERS := $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
# Each of some hundred processes would compile the library anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup rehearse pages pictures tables release usage test test-fast coverage lint docs example lock clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make setup      the virtual environment, with locked dependencies and the Jupyter kernel
setup: $(READY)

# The marker is written last, so an installation that was cut off is done again.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "kubeharden needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

## make rehearse   papermill runs notebooks/harden.ipynb on the rehearsal cluster article-1.10
rehearse: setup
	$(BIN)/papermill notebooks/harden.ipynb outputs/rehearsal.ipynb -p dns_ip 10.0.0.10
	@echo "The executed runbook is outputs/rehearsal.ipynb; look at it with: $(BIN)/jupyter lab outputs/rehearsal.ipynb"

## make test       all tests but those of the lab, on as many processes as twice the cores, since they mostly wait; of cases
##                 that repeat one another it tries a sample, says which, and takes another one the next time
##                 (KUBEHARDEN_SAMPLE_SEED=N: that one again; KUBEHARDEN_SAMPLE=all: all of them)
test: setup
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

## make test-fast  the tests that need neither a cluster, a notebook nor a whole run; likewise -m wide, node, papermill or lab
test-fast: setup
	$(BIN)/pytest -n auto --dist worksteal -m fast

## make coverage   make test once more, and then which lines and branches none of its processes reached, by file and as
##                 pages in build/coverage/html; MARK=fast measures those tests alone
coverage: setup
	rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal $(if $(MARK),-m $(MARK))
	-$(BIN)/coverage combine --quiet
	rm -f build/coverage/data.* # of processes that a test killed while they wrote it
	$(BIN)/coverage html --quiet --fail-under 0
	$(BIN)/coverage report $(if $(MARK),--fail-under 0)

## make lint       ruff, mypy, import rules, language (docs/glossary.md), notebooks stored without outputs
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/lint_language.py
	$(BIN)/nbstripout --verify --keep-id --extra-keys 'metadata.papermill cell.metadata.papermill' $(NOTEBOOKS)

## make docs       the site in build/site, which opens from files: the pages, and examples that are executed for it
docs: setup $(SITE)/.ready
	PYTHONPATH=tools $(BIN)/python -m documents.examples
	PYTHONPATH=tools $(BIN)/python -m documents.site stage
	$(SITE)/bin/zensical build --clean --strict --config-file build/zensical.toml
	PYTHONPATH=tools $(BIN)/python -m documents.site check

$(SITE)/.ready: docs/requirements.lock
	$(PYTHON) -m venv --clear $(SITE)
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r docs/requirements.lock
	@touch $@

## make example    docs/harden-article-1.10.html, to which the README leads: one of the examples of make docs
example: setup
	PYTHONPATH=tools $(BIN)/python -m documents.examples
	cp build/examples/harden-article-1.10.html docs/

## make pictures   docs/pictures/ with Chromium: the first page of a record, the course of a run, the register
pictures: setup
	PYTHONPATH=tools $(BIN)/python -m documents.pictures

## make pages      what pages in docs/ and the README say about the code, from the code
pages: setup
	PYTHONPATH=tools $(BIN)/python -m documents.pages

## make tables     the release tables of the library, from the facts about each release in tools/release_facts/facts
tables: setup
	PYTHONPATH=tools $(BIN)/python -m release_facts.tables

## make release RELEASE=v1.38.0  the facts about one more release, taken from the release itself, and the tables (needs Go;
##                 a quarter of an hour on two cores; docs/howto/release.md)
release: setup
	PYTHONPATH=tools $(BIN)/python -m release_facts.release $(RELEASE)

## make usage RELEASE=v1.38.0  what --help of the programs of a release says, which the tables are held against; they are
##                 built first and kept in build/ (needs Go; a quarter of an hour on two cores)
USED := build/kubernetes-$(RELEASE:v%=%)
usage: setup
	[ -e $(USED) ] || PYTHONPATH=tools $(BIN)/python -m release_facts.module $(RELEASE) $(USED)
	PYTHONPATH=tests/support:tools $(BIN)/python tests/support/usage_records.py $(USED)

## make lock       requirements.lock anew from pyproject.toml, and those of the site and of the fleet
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-emit-find-links --no-header --quiet
lock: setup
	$(COMPILE) pyproject.toml --extra dev -o requirements.lock
	$(COMPILE) docs/requirements.in -o docs/requirements.lock
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["fleet"], sep="\n")' | \
	  $(COMPILE) - -o $(FLEET_LOCK)

# Airflow, for many clusters: an environment of its own beside the project's, by a lock of its own (docs/fleet.md).
FLEET_VENV  := build/fleet-venv
FLEET_READY := $(FLEET_VENV)/.ready
FLEET_LOCK  := lib/kubeharden_fleet/requirements.lock
.PHONY: fleet test-fleet fleet-setup

fleet-setup: setup $(FLEET_READY)

$(FLEET_READY): $(FLEET_LOCK)
	$(PYTHON) -m venv --clear $(FLEET_VENV)
	$(FLEET_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(FLEET_LOCK)
	echo $(CURDIR)/lib >$$($(FLEET_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')/kubeharden.pth
	@touch $@

## make fleet      Airflow runs the runbook on three rehearsal clusters in two waves, and once more where the first one
##                 fails; no server, and everything is in build/fleet
fleet: fleet-setup
	$(BIN)/python tests/fleet_engine/rehearse.py

## make test-fleet the tests of a fleet with Airflow's own scheduler and API server, which they start
test-fleet: fleet-setup
	KUBEHARDEN_FLEET=1 $(BIN)/pytest tests/fleet tests/fleet_engine -q

## make clean      the virtual environment and all caches; outputs/ is left alone
clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find lib -name '*.egg-info' -prune -exec rm -rf {} +
	find . -name __pycache__ -prune -exec rm -rf {} +

# The lab: real Kubernetes on this machine. Root and Debian; see tests/lab. tests/lab/releases.yaml has the releases.
LAB := $(BIN)/python tests/lab/lab.py
OF  := $(if $(RELEASE),KUBEHARDEN_LAB_RELEASE=$(RELEASE))
UP  := up $(if $(NODES),--nodes $(NODES))
.PHONY: lab lab-packages lab-cache lab-down lab-fleet lab-reset lab-all test-lab test-lab-oldest test-lab-newest soak

## make lab        a hand-built Kubernetes cluster on this machine (root, Debian): 1.20.2, or RELEASE=1.37 and others
##                 (tests/lab/releases.yaml; Go builds them, a quarter of an hour each); NODES=3 for three nodes
lab: setup
	@$(OF) $(LAB) $(UP)

## make lab-packages  the packages that the lab needs of this machine, from its own mirror
lab-packages: setup
	@$(LAB) packages

## make lab-cache  what the lab is made of: Kubernetes (RELEASE=1.37: that one) built and a root file system, kept from then
##                 on; nothing is booted
lab-cache: setup
	@$(OF) $(LAB) prepare

## make lab-reset  the lab back to the state it was made in, in seconds
lab-reset: setup
	@$(LAB) reset

## make lab-down   every trace of the lab gone, but for its cache
lab-down: setup
	@$(LAB) down

## make test-lab   the end-to-end tests on the lab of the oldest release, which is made first where it is not up, and those
##                 of every release on the newest where it is in the lab's cache; they leave it as it is (make lab-reset)
test-lab: test-lab-oldest
	@if KUBEHARDEN_LAB_RELEASE=newest $(LAB) missing; then $(MAKE) --no-print-directory test-lab-newest; fi

## make lab-all    every release of the lab, one after another: what passed is in docs/releases.md afterwards. Builds what is
##                 not there yet (BUILT=yes leaves that out); 4 to 8 minutes each, without the build
lab-all: setup
	$(BIN)/python tests/lab/all_releases.py $(if $(BUILT),--built) $(RELEASE)

## make lab-fleet  two labs at once, of the oldest and the newest release, as a fleet of two under Airflow (docs/fleet.md);
##                 both releases must be in the lab's cache; a quarter of an hour
lab-fleet: fleet-setup
	PYTHONPATH=tools:tests/fleet_engine:tests/support:tests/lab $(BIN)/python tests/lab/fleet_of_two.py
	PYTHONPATH=tools $(BIN)/python -m documents.pages

# Of two processes, one has the nodes, makes them, and mostly waits; the other one has what programs judge by themselves.
test-lab-oldest: setup
	@KUBEHARDEN_LAB_RELEASE=oldest $(LAB) $(if $(NODES),$(UP),prepare)
	KUBEHARDEN_LAB=1 KUBEHARDEN_LAB_RELEASE=oldest \
	  $(BIN)/pytest tests/lab -x -q -n 2 --ignore tests/lab/test_releases.py

test-lab-newest: setup
	@KUBEHARDEN_LAB_RELEASE=newest $(LAB) $(if $(NODES),$(UP),prepare)
	KUBEHARDEN_LAB=1 KUBEHARDEN_LAB_RELEASE=newest $(BIN)/pytest tests/lab/test_releases.py -x -q

## make soak       what takes too long for CI: every test of tests/lab on one node and on three, 300 random flag sets
##                 of each component on two, 20,000 random pods, 200 runs that are killed, every crash point of a
##                 transaction, and every byte of a sealed run (more than 2 hours)
soak: setup
	@echo "soak: every case of what make test samples"
	KUBEHARDEN_SAMPLE=all $(BIN)/pytest -n $(WORKERS) --dist worksteal
	@for nodes in 1 3; do \
	  echo "soak: every test of tests/lab on a cluster of $$nodes"; \
	  KUBEHARDEN_SAMPLE=all $(MAKE) --no-print-directory lab-down test-lab-oldest NODES=$$nodes || exit 1; \
	done
	@echo "soak: 300 random flag sets of each component, judged by the real binaries"
	@$(MAKE) --no-print-directory lab-down lab RELEASE=oldest NODES=2
	KUBEHARDEN_LAB=1 KUBEHARDEN_FLAG_SETS=300 $(BIN)/pytest tests/lab/test_flag_sets.py tests/lab/test_kubelet_flag_sets.py -x -q
	@echo "soak: 20,000 random pods, judged by the real API server"
	KUBEHARDEN_LAB=1 KUBEHARDEN_PSP_PODS=20000 $(BIN)/pytest tests/lab/test_psp_judge.py -x -q
	@echo "soak: 200 runs on a rehearsal cluster, killed at random moments"
	KUBEHARDEN_KILLS=200 $(BIN)/pytest tests/records/test_record_kills.py -x -q
	@$(MAKE) --no-print-directory lab-down
