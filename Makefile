PYTHON ?= python3
BIN := .venv/bin
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 WANDB_MODE=offline

.DEFAULT_GOAL := help
.PHONY: help setup demo docs test test-slow test-thorough test-ray test-slurm test-browser test-sd15 frontend screenshots record test-studies check clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: .venv/.ready  ## make .venv with the pinned versions (nothing to do when it is up to date)

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "pathsynth needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet -p .venv -e '.[dev]' -c constraints.txt
# where Python may not keep what it compiles, every process would compile all libraries anew (some hold templates that are no Python)
	@[ -z "$$PYTHONDONTWRITEBYTECODE" ] || $(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@touch $@

demo: setup  ## draw checked images with the shipped adapter; run the demo study on the phantom data and write its report
	$(BIN)/pathsynth generate labels=all n=4 study.name=tissue
	$(BIN)/pathsynth run study=demo
	$(BIN)/pathsynth report multirun/demo

docs: setup  ## the documentation as a site, with references made from the program, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test: setup  ## tests that take seconds, three processes
	$(ONE_THREAD) $(BIN)/pytest -n 3 -m "not slow and not browser and not slurm and not ray"

test-slow: setup  ## tests that take minutes: the whole loop at its smallest, a study killed at many moments
	$(ONE_THREAD) $(BIN)/pytest -n 3 --dist loadfile -m "slow and not thorough and not browser" tests --deselect=tests/studies/test_studies.py::test_a_study_runs_to_its_end_at_its_smallest --ignore=tests/studies/test_sd15.py

test-thorough: setup  ## further cases of what test-slow shows: more writes in which a trial is killed, more places at which a training is cut
	$(ONE_THREAD) $(BIN)/pytest -n 2 --dist loadfile -m thorough tests

test-slurm: setup  ## trials as jobs of a real Slurm on this machine (apt-get install slurmctld slurmd slurm-client munge), as root, minutes; ONLY=array_of_jobs: the smallest
	$(ONE_THREAD) $(BIN)/pytest -n 0 -m slurm tests/clusters $(if $(ONLY),-k "$(ONLY)")

test-ray: setup  ## one scenario under four launchers, and trials on two nodes of Ray of which one is killed, four minutes
	$(ONE_THREAD) $(BIN)/pytest -n 0 -m ray tests/clusters

test-browser: setup  ## pages, atlas and the live page in Chromium (apt-get install chromium), minutes
	@command -v chromium > /dev/null || { echo "no chromium; install it: apt-get install chromium" >&2; exit 1; }
	$(ONE_THREAD) $(BIN)/pytest -n 2 --dist loadfile -m browser tests

frontend:  ## check, test and build the script of the study page (needs Node 20 or newer and npm)
	@command -v npm > /dev/null || { echo "no npm; install Node 20 or newer" >&2; exit 1; }
	cd pathsynth/report/frontend && npm ci --ignore-scripts --no-audit --no-fund && npm run types && npm test && npm run build

screenshots: setup  ## README's pictures of the dashboard; FOLDER=multirun/<study>
	$(BIN)/python tests/report/screenshots.py $(FOLDER)

record: setup  ## what README shows of commands, and its strip of images, anew; minutes
	$(BIN)/python tests/recorded/record.py

test-sd15: setup  ## the real path at the size of Stable Diffusion 1.5, random weights, about 10 GB; TILES=<folder of 224 px tiles>
	WANDB_MODE=offline TILES=$(TILES) $(BIN)/pytest -n 0 -s tests/studies/test_sd15.py

test-studies: setup  ## every shipped study at its smallest, minutes each
	$(ONE_THREAD) $(BIN)/pytest -n 0 -m slow tests/studies/test_studies.py

check: setup  ## lint and type check, the direction of imports, and the tour of the code
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(ONE_THREAD) $(BIN)/pytest -n 0 tests/test_layers.py tests/test_docs.py::test_the_tour_of_the_code_leads_to_what_it_names

clean:  ## remove caches and build leftovers; results in multirun/ and .venv stay
	rm -rf build dist outputs .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -path ./.venv -prune -o -path ./multirun -prune -o \( -name __pycache__ -o -name .ruff_cache \) -type d -prune -exec rm -rf {} +
	@echo "results in multirun/ were kept"
