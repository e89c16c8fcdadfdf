# Everything runs in .venv; each target makes it first. uv is used when it is there.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEV    := $(VENV)/.ready-dev
# A peer for live tests and benchmarks, in an environment of its own: it pins what we do not.
LITELLM := .live/litellm

# Nothing that runs here reports to anyone.
export LANGSMITH_TRACING := false
export LANGGRAPH_CLI_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export HF_HUB_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help ask chat setup test live soak litellm check bench clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

ask: $(READY)  ## Ask one question: make ask Q="What is the capital of Peru?"
	@$(BIN)/rolecall ask $(if $(Q),"$$Q",)

chat: $(READY)  ## Talk in the terminal
	@$(BIN)/rolecall chat

setup: $(DEV)  ## Install everything for development

test: $(DEV)  ## Fast tests and contract tests: no model, loopback only
	$(BIN)/pytest -q -m "not live and not soak and not alone" -n 2 --dist loadfile tests
	$(BIN)/pytest -q -m "alone and not live and not soak" -n 2 --dist loadfile tests

live: $(DEV)  ## Tests on the real embedded model
	@$(MAKE) --no-print-directory litellm || echo "Going on without LiteLLM: its tests say why" >&2
	$(BIN)/pytest -q -m live tests/live

soak: $(DEV)  ## Long tests of threads: kills, many processes (minutes)
	$(BIN)/pytest -q -m soak --timeout 1200 tests/soak

litellm: $(LITELLM)/.ready  ## Install LiteLLM beside, for live tests and benchmarks

check: $(DEV)  ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(DEV)  ## Measure; prints ratios taken side by side in one run
	$(BIN)/python -m benchmarks

clean:  ## Remove the environment and caches (not your threads)
	rm -rf $(VENV) .live build dist *.egg-info src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

export Q

define install
	@if [ ! -x $(BIN)/python ]; then \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …" >&2; exit 1; }; \
	  echo "Making $(VENV)" >&2; \
	  if command -v uv >/dev/null 2>&1; then uv venv --quiet --seed --python $(PYTHON) $(VENV); \
	  else $(PYTHON) -m venv $(VENV); fi; \
	fi
	@echo "Installing $(1)" >&2
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python -e "$(1)"; \
	else PIP_PROGRESS_BAR=on $(BIN)/python -m pip install --disable-pip-version-check -e "$(1)" \
	  | grep --line-buffered -E '^(Collecting|Downloading|Installing|Successfully)' \
	  | cut -c1-100; $(BIN)/python -c 'import rolecall'; fi
	@touch $@
endef

$(READY): pyproject.toml
	$(call install,.[embedded])

$(DEV): pyproject.toml
	$(call install,.[dev])
	@touch $(READY)

$(LITELLM)/.ready: tests/live/litellm.txt
	@echo "Installing LiteLLM into $(LITELLM) (700 MB, once)" >&2
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --clear --python $(PYTHON) $(LITELLM) \
	    && uv pip install --quiet --python $(LITELLM)/bin/python -r $<; \
	else \
	  $(PYTHON) -m venv --clear $(LITELLM) \
	    && $(LITELLM)/bin/python -m pip install --quiet --disable-pip-version-check --retries 2 -r $<; \
	fi
	@touch $@
