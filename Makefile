# make score VIDEO=clip.mp4   score a video or a picture, in a small environment without PyTorch (.venv-score)
# make serve             serve a page that scores videos dropped on it, in the same environment
# make app               build dist/robustforensics.pex, one file that scores, serves and verifies without a checkout
# make demo              run all stages on sample clips
# make test              run ruff, mypy, and the quick tests, which need nothing but Python
# make test-slow         run the other tests: those that take more than ten seconds, or need Slurm or a browser
# make lint              run only ruff and mypy
# make mutants           change code on purpose and see whether a test notices; MODULE=faces/tracking.py: one module
# make fuzz TARGET=containers   feed readers made-up bytes for an hour; tests/fuzz.py lists the targets
# make bench             run the benchmarks
# make slurm-install     install Debian's Slurm, as root, for the tests marked slurm and for slurm/cluster.sh
# make browser-install   install Debian's Chromium, as root, for the tests of pages
# make lock              resolve requirements.lock after a change of requirements*.txt; versions that still fit stay
# make lock UPGRADE=--upgrade   the same with the newest versions
# All but the two *-install targets set up their environment if it is missing, and install packages only when the lock
# has changed. PYTHON=python3.12 chooses another Python.
PYTHON ?= python3
VENV := .venv/bin/python
INSTALLED := .venv/installed
SCORE := .venv-score/bin/python
# As it was typed, even if it holds a $.
export SCORED := $(value VIDEO)

.PHONY: score serve app demo test test-slow mutants fuzz bench lint lock slurm-install browser-install
score: .venv-score/installed
	@test -n "$$SCORED" || { echo "name a video: make score VIDEO=clip.mp4"; exit 2; }
	$(SCORE) -m inference.predict "$$SCORED" --evidence evidence/ --output evidence/submission.csv

serve: .venv-score/installed
	$(SCORE) -m forensics.serve

app: $(INSTALLED)
	sh deploy/app.sh

demo: $(INSTALLED)
	$(VENV) -m demo

test: lint
	OMP_NUM_THREADS=1 $(VENV) -m pytest -m "not slow and not slurm and not browser" -n 2 --dist loadfile

test-slow: $(INSTALLED)
	$(VENV) -m pytest -m "slow and slurm"
	OMP_NUM_THREADS=1 $(VENV) -m pytest -m "(slow or slurm or browser) and not (slow and slurm)" -n 2 --dist loadfile

mutants: .venv-tools/installed
	.venv-tools/bin/python -m tests.mutants $(MODULE)

fuzz: .venv-tools/installed
	.venv-tools/bin/python -m tests.fuzz $(TARGET)

bench: $(INSTALLED)
	for name in blends crops_on_disk feeding history inference loader networks predict preprocess reading runtimes scale screen whole; do $(VENV) -m benchmarks.$$name || exit 1; done

lint: $(INSTALLED)
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy

lock: $(INSTALLED)
	$(VENV) -m uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --custom-compile-command 'make lock' $(UPGRADE) \
		--output-file requirements.lock requirements-dev.txt requirements-nodeps.txt
	$(VENV) -m uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --custom-compile-command 'make lock' --constraint requirements.lock \
		--output-file requirements-score.lock requirements-score.txt

slurm-install:
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends munge slurmctld slurmd slurm-client

browser-install:
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends chromium

# An environment without pip is incomplete, after an interrupted make or on a Debian without python3-venv: it is made
# again. The lock's pip comes first, checked by its hashes like all others, because it resumes interrupted downloads.
define install
	$(@D)/bin/python -m pip --version > /dev/null 2>&1 || { rm -rf $(@D) && $(PYTHON) -m venv $(@D); }
	sed -n '/^pip==/,/# via/p' $< | $(@D)/bin/python -m pip install --quiet --require-hashes -r /dev/stdin
	$(@D)/bin/python -m pip install --quiet --no-deps --require-hashes $(1) -r $<
	touch $@
endef

$(INSTALLED): requirements.lock
	$(call install)

# Python compiles modules when it uses them.
.venv-score/installed: requirements-score.lock
	$(call install,--no-compile)
	$(@D)/bin/python -m pip uninstall --quiet --yes setuptools  # comes with Python 3.11, and nothing needs it

# It has mutmut and atheris, and finds everything else in the environment of the tests.
PACKAGES := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
.venv-tools/installed: $(INSTALLED)
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/python -m pip install --quiet mutmut==3.8.1 atheris==3.0.0
	$(VENV) $(PACKAGES) > "$$(.venv-tools/bin/python $(PACKAGES))/tests.pth"
	touch $@
