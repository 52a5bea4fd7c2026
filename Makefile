# make demo        the whole road on sample clips
# make test        ruff, mypy, and pytest but for what takes minutes
# make test-slow   the rest of pytest               make lint   ruff and mypy alone
# make bench       measurements
# make slurm-install   Debian's Slurm, as root, for the tests marked slurm and for slurm/cluster.sh
# make browser-install   Debian's Chromium, as root, for the tests that look at pages
# make lock   resolves requirements.lock after a change of requirements*.txt; keeps versions that still fit
# make lock UPGRADE=--upgrade   takes the newest versions
# Each sets up .venv when it is absent and installs only when the lock changed. PYTHON=python3.12 chooses another.
PYTHON ?= python3
VENV := .venv/bin/python
INSTALLED := .venv/installed

.PHONY: demo test test-slow bench lint lock slurm-install browser-install
demo: $(INSTALLED)
	$(VENV) -m demo

test: lint
	$(VENV) -m pytest -m "not slow"

test-slow: $(INSTALLED)
	$(VENV) -m pytest -m slow

bench: $(INSTALLED)
	for name in crops_on_disk inference loader networks preprocess; do $(VENV) -m benchmarks.$$name || exit 1; done

lint: $(INSTALLED)
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy

lock: $(INSTALLED)
	$(VENV) -m uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --custom-compile-command 'make lock' $(UPGRADE) \
		--output-file requirements.lock requirements-dev.txt requirements-nodeps.txt

slurm-install:
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends munge slurmctld slurmd slurm-client

browser-install:
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends chromium

# The lock's pip first, by its hashes too: it resumes a download that was cut.
$(INSTALLED): requirements.lock
	test -x $(VENV) || $(PYTHON) -m venv .venv
	sed -n '/^pip==/,/# via/p' requirements.lock | \
		$(VENV) -m pip install --quiet --require-hashes -r /dev/stdin
	$(VENV) -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	touch $@
