# `make help` lists the targets. Each one makes the virtual environment it needs under .venv/.

PYTHON ?= $(shell scripts/find-python.sh)
VENV ?= .venv
TEST_VENV ?= $(VENV)/test
# Further requirements of the test environment, for example DJANGO='django~=5.2.0'
DJANGO ?=
# Passed to pytest by `make test`, for example ARGS='-k natural -x'
ARGS ?=
PORT ?= 8000

.DEFAULT_GOAL := help
.PHONY: help test test-faults demo serve lint types docs bench clean venv-bench venv-test venv-demo venv-dev venv-docs axe

help:
	@echo 'make demo    load real data, synchronize two SQLite databases, compare them'
	@echo 'make serve   the demo in a browser, with changes to synchronize; PORT=8000'
	@echo 'make test    run the test suite on every database that answers; ARGS="-k natural" goes to pytest'
	@echo 'make test-faults  disturb runs at every statement; more writers, longer stories'
	@echo 'make bench   measure speed and memory on every database that answers; BENCH_QUICK=1 for two minutes'
	@echo 'make lint    ruff check, ruff format --check'
	@echo 'make types   mypy'
	@echo 'make docs    build the documentation into docs/_build/html'
	@echo 'make clean   remove what the other targets made'
	@echo
	@echo 'PYTHON=/path/to/python chooses the interpreter (3.11 or newer). CONTRIBUTING.rst says more.'

venv-test:
	@scripts/venv.sh "$(PYTHON)" "$(TEST_VENV)" test $(if $(DJANGO),'$(DJANGO)')

venv-demo:
	@scripts/venv.sh "$(PYTHON)" "$(VENV)/demo" demo

venv-dev:
	@scripts/venv.sh "$(PYTHON)" "$(VENV)/dev" dev,test

venv-docs:
	@scripts/venv.sh "$(PYTHON)" "$(VENV)/docs" docs

venv-bench:
	@scripts/venv.sh "$(PYTHON)" "$(VENV)/bench" bench $(if $(DJANGO),'$(DJANGO)')
	@"$(VENV)/bench/bin/python" -c 'import MySQLdb' 2>/dev/null \
		|| "$(VENV)/bench/bin/python" -m pip install -q mysqlclient >/dev/null 2>&1 \
		|| echo 'mysqlclient cannot be built here (libmariadb-dev has what it needs): PyMySQL is measured.'

axe:
	@scripts/axe.sh "$(VENV)/axe"

test: venv-test axe
	@SYNCHRO_AXE="$${SYNCHRO_AXE:-$(VENV)/axe/node_modules/axe-core/axe.min.js}" \
		"$(TEST_VENV)/bin/python" -m tests.matrix $(ARGS)

test-faults: venv-test
	@SYNCHRO_KILL_STEP=1 SYNCHRO_WRITERS=8 SYNCHRO_WRITER_TRANSACTIONS=40 SYNCHRO_STORIES=300 \
		SYNCHRO_STORY_STEPS=40 SYNCHRO_TEST_TIMEOUT=14400 \
		"$(TEST_VENV)/bin/python" -m tests.matrix tests/faults -s $(ARGS)

demo: venv-demo
	@"$(VENV)/demo/bin/python" testproject/manage.py demo

serve: venv-demo
	@"$(VENV)/demo/bin/python" testproject/manage.py serve $(PORT)

bench: venv-bench
	@"$(VENV)/bench/bin/python" -m benchmarks

lint: venv-dev
	@"$(VENV)/dev/bin/ruff" check .
	@"$(VENV)/dev/bin/ruff" format --check .

types: venv-dev
	@"$(VENV)/dev/bin/mypy"

docs: venv-docs
	@"$(VENV)/docs/bin/sphinx-build" -q -W --keep-going -b html docs docs/_build/html
	@echo 'docs/_build/html/index.html'

clean:
	rm -rf "$(VENV)" build dist docs/_build *.egg-info
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f testproject/*.sqlite3 testproject/*.sqlite3-*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
