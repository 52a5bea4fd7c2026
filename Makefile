# make demo              run all stages on sample clips
# make test              run ruff, mypy, and the tests of pytest except those that take minutes
# make test-slow         run the tests of pytest that take minutes
# make lint              run only ruff and mypy
# make bench             run the benchmarks
# make slurm-install     install Debian's Slurm, as root, for the tests marked slurm and for slurm/cluster.sh
# make browser-install   install Debian's Chromium, as root, for the tests that look at pages
# make lock              resolve requirements.lock after a change of requirements*.txt; versions that still fit stay
# make lock UPGRADE=--upgrade   the same with the newest versions
# All but the two *-install targets set up .venv if it is absent, and install packages only when the lock changed.
# PYTHON=python3.12 chooses another Python.
PYTHON ?= python3
VENV := .venv/bin/python
INSTALLED := .venv/installed

.PHONY: demo test test-slow bench lint lock slurm-install browser-install
demo: $(INSTALLED)
	$(VENV) -m demo

test: lint
	OMP_NUM_THREADS=1 $(VENV) -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(INSTALLED)
	$(VENV) -m pytest -m slow

bench: $(INSTALLED)
	for name in crops_on_disk inference loader networks preprocess reading; do $(VENV) -m benchmarks.$$name || exit 1; done

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

# A .venv without pip is half made: by an interrupted make, or by a Debian without python3-venv. It is made anew.
# The lock's pip comes first, checked by its hashes too: it resumes an interrupted download.
$(INSTALLED): requirements.lock
	$(VENV) -m pip --version > /dev/null 2>&1 || { rm -rf .venv && $(PYTHON) -m venv .venv; }
	sed -n '/^pip==/,/# via/p' requirements.lock | \
		$(VENV) -m pip install --quiet --require-hashes -r /dev/stdin
	$(VENV) -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	touch $@
