# make demo   the whole road on sample clips        make test   ruff and pytest
# make bench  measurements                          make lint   ruff alone
# make slurm-install   Debian's Slurm, as root, for the tests marked slurm and for slurm/cluster.sh
# make browser-install   Debian's Chromium, as root, for the tests that look at pages
# Each sets up .venv when it is absent and installs only when the requirements changed. PYTHON=python3.12 chooses another.
PYTHON ?= python3
VENV := .venv/bin/python
INSTALLED := .venv/installed

.PHONY: demo test bench lint slurm-install browser-install
demo: $(INSTALLED)
	$(VENV) -m demo

test: lint
	$(VENV) -m pytest

bench: $(INSTALLED)
	for script in benchmarks/*.py; do $(VENV) $$script || exit 1; done

lint: $(INSTALLED)
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .

slurm-install:
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends munge slurmctld slurmd slurm-client

browser-install:
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends chromium

$(INSTALLED): requirements.txt requirements-dev.txt
	test -x $(VENV) || $(PYTHON) -m venv .venv
	$(VENV) -m pip install --quiet --upgrade 'pip>=25.1'
	$(VENV) -m pip install --quiet -r requirements-dev.txt
	$(VENV) -m pip install --quiet --no-deps retinaface-pytorch==0.0.8
	touch $@
