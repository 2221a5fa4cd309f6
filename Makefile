# LiveKit SIP sandbox: `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup ready demo up down test test-unit test-standin test-parts test-e2e test-docker images doctor ready-runner lint types fmt docs lock bench clean

# For test-e2e: the engine (native, compose, attach or auto), where pytest runs (on the host, or in a
# container of the same network: docs/compose.md), a livekit-sip to run on instead of the stand-in,
# how many scenarios run at a time (each on a stack of its own; auto: two more than there are
# cores), and more arguments for pytest.
ENGINE ?= auto
RUNNER ?= host
SIP ?= $(SANDBOX_LIVEKIT_SIP)
ARGS ?=
SPEECH ?=
export SPEECH
# A deployment that is attached to is one for all.
JOBS ?= $(if $(filter attach,$(ENGINE)),0,auto)
SPREAD := -n $(JOBS) --dist loadgroup
ifneq ($(SIP),)
export SANDBOX_LIVEKIT_SIP := $(SIP)
endif

# In CI what failed is run once more, alone, so that one starved moment of a shared machine does not
# hide the rest of the pipeline. It is said loudly: a pass then is a flake, and a flake is a bug.
AGAIN = { { set +x; } 2>/dev/null; [ "$$CI" = true ] && echo "== FAILED ONCE; again, alone (a pass now is a flake to be found):" && \
  $(PYTEST) --last-failed --last-failed-no-failures none --sandbox-output=test-results/again

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
GO_FLAGS := -tags=nolibopusfile
STANDIN := sandbox/standin

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  test-e2e takes ENGINE=native|compose|attach|auto, SIP=/path/to/livekit-sip, JOBS=n, ARGS="…" (for pytest),'
	@echo '  and for compose RUNNER=container (pytest in the network: Docker Desktop); images takes SIP= too'

setup: ## set up everything on this machine: Python, Go, livekit-server, the SIP service (SPEECH=1: speech too)
	@scripts/bootstrap

# Set-up that says nothing when nothing is to do: what every other target begins with.
ready:
	@scripts/bootstrap --quiet

demo: ready ## one real call: phone, SIP, LiveKit, agent; with its ladder and timings
	@$(BIN)/sandbox demo $(ARGS)

up: ready ## start a stack and stay in front (Ctrl-C ends it)
	@$(BIN)/sandbox up $(ARGS)

down: ready ## end a stack that `make up` started elsewhere
	@$(BIN)/sandbox down $(ARGS)

test: lint types test-unit test-standin test-parts test-e2e ## everything: lint, types, unit tests, Go tests, parts, scenarios

test-unit: ready ## unit tests (no stack)
	$(PYTEST) tests/unit $(ARGS)

test-parts: ready ## the phone against itself, the plugin, ten seeded failures, `explain`, and the SIP service against the recordings
	@set -x; $(PYTEST) tests/stack tests/phone tests/plugin tests/seeded tests/explain tests/conformance --sandbox-engine=native $(SPREAD) $(ARGS) || \
	  $(AGAIN) tests/stack tests/phone tests/plugin tests/seeded tests/explain tests/conformance --sandbox-engine=native; }

test-standin: ready ## go vet and go test -race of the stand-in
	@go=$$($(BIN)/python -m sandbox.stack.provision go) && cd $(STANDIN) && \
	  export GOTOOLCHAIN=local GOWORK=off HOME="$${HOME:-$$(echo ~)}" && set -x && \
	  "$$go" vet $(GO_FLAGS) ./... && "$$go" test -race $(GO_FLAGS) ./...

ifeq ($(RUNNER),container)
test-e2e: ready-runner ## every scenario against the stack, into test-results/junit.xml
	@mkdir -p test-results
	$(BIN)/python -m sandbox.stack.compose_runner tests/e2e --junitxml=test-results/junit.xml $(ARGS)
else
test-e2e: ready
	@mkdir -p test-results
	@set -x; $(PYTEST) tests/e2e examples --sandbox-engine=$(ENGINE) $(SPREAD) --junitxml=test-results/junit.xml $(ARGS) || \
	  $(AGAIN) tests/e2e examples --sandbox-engine=$(ENGINE) --junitxml=test-results/junit-again.xml $(ARGS); }
endif

# The host only drives Docker: outside Linux it needs Python and the package, nothing native.
ready-runner:
	@if [ "$$(uname)" = Linux ]; then scripts/bootstrap --quiet; \
	  elif [ ! -x $(BIN)/sandbox ]; then python3 -m venv .venv && $(BIN)/python -m pip install -q -e .; fi

test-docker: ready ## the tests of the Compose engine that need a Docker daemon
	$(PYTEST) tests/docker $(ARGS)

images: ready ## build the Docker images on this machine (for where there is no registry); takes SIP=
	@$(BIN)/python -m sandbox.stack.image_build $(ARGS)

doctor: ready ## is Docker fit for ENGINE=compose, and what mends it if not
	@$(BIN)/sandbox doctor

lint: ready ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: ready ## mypy --strict
	$(BIN)/mypy

fmt: ready ## format and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: ready ## make docs/answers.md and docs/coverage.md from the scenarios
	@$(BIN)/python -m tests.docs.generate

test-tools: ## install what only some tests want: Chromium (the report), tshark (the pcap)
	@scripts/test-tools

lock: ## remake the lock files (ARGS=--upgrade takes the newest releases)
	@scripts/lock $(ARGS)

bench: ready ## measure: stack start, overhead, call set-up, load
	$(BIN)/python -m benchmarks.run $(ARGS)

clean: ## remove .venv, caches and results of this checkout (not the machine's build cache)
	rm -rf .venv .*.lock .mypy_cache .ruff_cache .pytest_cache test-results build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
