# Everything runs in .venv, which is made on first use and again whenever pyproject.toml,
# setup.py or native/ changes. Needs Python 3.11+, make and a package index; with a C compiler
# and the headers of Python, the call path is compiled, and HYDRA_PURE_PYTHON=1 leaves it out.
#   make test PYTEST_ARGS="-m unit -x"     hand arguments to pytest
#   make test WORKERS=0                    in one process, where a debugger can be used
#   make test PYTHON=python3.13            use this interpreter
#   make bench BENCH_ARGS="--quick"        hand arguments to the benchmarks
#   make soak SOAK_ARGS="--seconds 60"     hand arguments to the soak
#   make faults FAULTS_ARGS="C2 D6"        run single rows; make kill9 KILLS=500
#   make fuzz FUZZ_ARGS="--seconds 60"     fuzz for a minute; or name targets
#   make mutants MUTANTS_ARGS="-k held"    try the mutants with this word in their names

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PYTHON ?=
PYTEST_ARGS ?=
# Most tests wait for something, so two processes are worth it on any machine.
WORKERS ?= 2
RUN := $(VENV)/bin/python
QUIET := scripts/quiet

# An environment that was copied from elsewhere, or made with another
# interpreter than the one asked for, has other stamps and is set up again.
KEY := $(shell printf '%s' '$(CURDIR) $(PYTHON)' | cksum | cut -d' ' -f1)
RUNTIME := $(VENV)/.runtime-$(KEY)
DEV := $(VENV)/.dev-$(KEY)

CODE := hydra fallbacks
TYPED := $(CODE) $(wildcard tests/typing)
COMPILED := hydra/engine/_native*.so fallbacks/_native*.so
SUFFIX := 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))'

# The fuzzer is no dependency, and has wheels for few interpreters: an environment of its own.
FUZZ := .venv-fuzz
FUZZER := $(FUZZ)/.fuzzer-$(KEY)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(RUNTIME): pyproject.toml setup.py $(wildcard native/*.c native/*.h)
	@PYTHON='$(PYTHON)' scripts/venv $(VENV)
# A compiler that fails is no error: what it made of an older source must not stay.
	@suffix=$$($(RUN) -c $(SUFFIX)) && rm -f hydra/engine/_native$$suffix fallbacks/_native$$suffix
	@$(QUIET) $(RUN) -m pip install --disable-pip-version-check -e .
	@touch $@

$(DEV): $(RUNTIME)
	@$(QUIET) $(RUN) -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@

.PHONY: demo
demo: $(RUNTIME) ## show an outage and what becomes of every record
	@$(RUN) examples/outage.py

.PHONY: test
test: $(DEV) ## run the tests
	@$(RUN) -m pytest -q -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

.PHONY: coverage
coverage: $(DEV) ## run the tests and show the branches they miss
	@$(RUN) -m coverage erase
	@$(RUN) -m coverage run -m pytest -q $(PYTEST_ARGS)
	@$(QUIET) $(RUN) -m coverage combine
	@$(RUN) -m coverage report

.PHONY: faults
faults: $(DEV) ## cause every fault of docs/faults.md, and write what came of it
	@$(RUN) scripts/fault_rows.py $(FAULTS_ARGS)

.PHONY: kill9
kill9: $(DEV) ## kill a logging process 10,000 times
	@$(RUN) scripts/endure.py kill9 $(KILLS)

.PHONY: forks
forks: $(DEV) ## fork 1,000 times while eight threads log
	@$(RUN) scripts/endure.py forks $(FORKS)

.PHONY: lint
lint: $(DEV) ## check style, types and the order of the rooms
	@$(QUIET) $(RUN) -m ruff check .
	@$(QUIET) $(RUN) -m ruff format --check .
	@$(QUIET) $(RUN) -m mypy $(TYPED)
	@$(QUIET) $(RUN) -c 'from importlinter.cli import lint_imports_command as main; main()' --no-cache

.PHONY: format
format: $(DEV) ## format the code and mend what ruff can mend
	@$(RUN) -m ruff check --fix --exit-zero --quiet .
	@$(RUN) -m ruff format --quiet .

.PHONY: bench
bench: $(DEV) ## measure hydra beside its peers, and write docs/benchmarks.md and the README's figures
	@$(RUN) -m benchmarks $(if $(BENCH_ARGS),$(BENCH_ARGS),--publish)
	@$(if $(BENCH_ARGS),:,$(RUN) scripts/readme.py)

.PHONY: bench-micro
bench-micro: $(DEV) ## time the steps of the hot path one by one
	@$(RUN) -m pytest -q benchmarks --benchmark-only --benchmark-sort=name $(PYTEST_ARGS)

.PHONY: scoreboard
scoreboard: $(DEV) ## play faults with hydra and its peers, and write docs/scoreboard.md
	@$(RUN) -m benchmarks.scoreboard $(if $(SCORE_ARGS),$(SCORE_ARGS),--publish)

.PHONY: soak
soak: $(RUNTIME) ## load hydra for ten minutes while faults come and go, then audit
	@$(RUN) -m benchmarks.soak $(SOAK_ARGS)

.PHONY: outage-day
outage-day: $(RUNTIME) ## take a destination away for a day, on a fake clock
	@$(RUN) -m benchmarks.outage

.PHONY: mutants
mutants: $(DEV) ## break the code in many ways, see which test notices, and write docs/mutants.md
	@$(RUN) scripts/mutants.py $(MUTANTS_ARGS)

$(FUZZER): pyproject.toml
	@PYTHON=python3.11 scripts/venv $(FUZZ)
	@$(QUIET) $(FUZZ)/bin/python -m pip install --disable-pip-version-check -e '.[yaml]'
	@$(QUIET) $(FUZZ)/bin/python -m pip install --disable-pip-version-check \
	    --only-binary atheris atheris==3.0.0 || \
	    { echo 'make fuzz needs atheris, which has no wheel for this machine.' >&2; exit 1; }
	@touch $@

.PHONY: fuzz
fuzz: $(FUZZER) ## fuzz what reads untrusted bytes, guided by coverage (10 minutes)
	@$(FUZZ)/bin/python scripts/fuzz.py $(FUZZ_ARGS)

.PHONY: dist
dist: $(DEV) ## build sdist and wheel, try the wheel in a clean environment
	@rm -rf dist
	@$(QUIET) $(RUN) -m build --outdir dist
	@PYTHON='$(RUN)' scripts/smoke dist/*.whl
	@ls dist

.PHONY: clean
clean: ## remove the environment and everything generated
	@rm -rf $(VENV) .venv-peers $(FUZZ) .fuzz dist build hydra_log.egg-info $(COMPILED) .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache \
	    .import_linter_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
