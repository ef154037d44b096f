# kbadmin. `make run` is all a fresh clone needs; `make` alone lists the rest.

PYTHON ?= python3
BIN := .venv/bin
# What `check --deploy` asks about is what a server behind TLS has.
DEPLOY_ENV := KBADMIN_PUBLIC_URL=https://kb.example.org KBADMIN_DATA_DIR=build/check
# A file's tests stay together, in the order in which tests/conftest.py puts them.
PARALLEL = -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
TEMPLATES = $(shell find templates -name '*.html' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help run test test-fastchat drill bench-ingest bench-search bench-pages screenshots eval eval-postgres eval-int8 simulate-feedback lint compose-check format clean python

help: ## List these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-17s %s\n' "$$name" "$$text"; done

python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "$(PYTHON) was not found; install Python 3.11 or newer, or name it: make run PYTHON=python3.12" >&2; \
		exit 1; }

run: python ## Install what is missing and run kbadmin until Ctrl-C
	@$(PYTHON) deploy/install.py && exec $(BIN)/python manage.py start

test: python ## Run every check and every test
	@$(PYTHON) deploy/install.py --dev
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest $(PARALLEL)

test-fastchat: python ## Try the gateway in front of a real FastChat, in an environment of its own
	@$(PYTHON) deploy/install.py --dev
	$(BIN)/python -m tests.fastchat.environment
	$(BIN)/python -m pytest -m fastchat tests/fastchat

drill: python ## Kill every process at random while documents stream in, and see what is left
	@$(PYTHON) deploy/install.py --dev
	$(BIN)/python -m tests.drill

bench-ingest: python ## Measure how fast notes are indexed, against the usual recipe
	@$(PYTHON) deploy/install.py --dev
	$(BIN)/python -m benchmarks.ingest

bench-search: python ## Measure searches per second and their p99, against the usual service
	@$(PYTHON) deploy/install.py --dev
	$(BIN)/python -m benchmarks.search

bench-pages: python ## Measure every page of the admin over 1,000,000 chunks
	@$(PYTHON) deploy/install.py --dev
	$(BIN)/python -m benchmarks.pages

screenshots: python ## Take a picture of every page: both languages, light and dark, wide and narrow
	@$(PYTHON) deploy/install.py --dev
	$(BIN)/python -m tests.screenshots

eval: python ## Measure answers in two languages; DATABASE_URL=postgres://… for that server
	@$(PYTHON) deploy/install.py --dev
	$(BIN)/python -m benchmarks.quality

eval-postgres: python ## The same on SQLite and on a PostgreSQL of its own, and compare them
	@$(PYTHON) deploy/install.py --dev
	$(BIN)/python -m benchmarks.quality --against-postgres

eval-int8: python ## Measure what quantising the embedding model costs
	@$(PYTHON) deploy/install.py --dev
	$(BIN)/python -m benchmarks.quantisation

simulate-feedback: python ## Play a month of feedback, and draw what it does to the answers
	@$(PYTHON) deploy/install.py --dev
	$(BIN)/python -m benchmarks.feedback

lint: ## Check style, types, migrations, settings and templates
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(DEPLOY_ENV) $(BIN)/python manage.py check --deploy --fail-level WARNING
ifneq ($(TEMPLATES),)
	$(BIN)/djhtml --check $(TEMPLATES)
	$(BIN)/djade --check $(TEMPLATES)
endif
	@$(MAKE) --no-print-directory compose-check

compose-check: ## Check docker-compose.yml and the Dockerfiles, without a Docker engine
	$(BIN)/python -m deploy.compose_check

format: ## Rewrite code and templates in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
ifneq ($(TEMPLATES),)
	-$(BIN)/djhtml $(TEMPLATES)
	-$(BIN)/djade $(TEMPLATES)
endif

clean: ## Delete .venv and caches; the data folder stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
