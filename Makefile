# SPDX-License-Identifier: Apache-2.0
# The habits of a VPP developer. A wrapper only: CMake builds C, pip builds Python, scripts/ test.

BUILD     := build
VENV      := .venv
BIN       := $(VENV)/bin
JOBS      ?= $(shell nproc)
DATAPLANE ?= embedded
FUZZ_SECONDS ?= 600
SOAK_SECONDS ?= 600

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
export HASHMVT_JOBS := $(JOBS)
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

C_SOURCES := $(shell find plugin/mvt plugin/engine plugin/bench CMakeLists.txt -name '*.[ch]' -o -name CMakeLists.txt)
PY_META   := py/pyproject.toml py/setup.py $(wildcard py/src/hashmvt/_ffi/*.py)
EXTRAS    := 'py[test,lint,vpp]'

RUFF         := $(BIN)/ruff
RUFF_FIRST   := lint.isort.known-first-party=["hashmvt", "HashMvt", "tests"]
RUFF_PACKAGE := --config py/pyproject.toml --config '$(RUFF_FIRST)' py tests/py robot
RUFF_AROUND  := --config scripts/ruff.toml demo tests/demo tests/packaging tests/vpp scripts/run-tests

DEP_BUILD := $(BUILD)/.stamp-dep-build
DEP_TEST  := $(BUILD)/.stamp-dep-test
VENV_PIP  := $(VENV)/.stamp-venv
INSTALLED := $(VENV)/.stamp-installed
VPP_LOG   := $(BUILD)/log/vpp.log
DEV       := $(VENV)/.stamp-dev
PAPI      := $(VENV)/.stamp-papi

# $(call step,what,log,command): one line while it runs; its output only when it fails; one at a
# time, also of several makes
define step
@mkdir -p $(BUILD)/log; start=$$SECONDS; printf '%-52s ' '$(1)'; \
if ( set -e; exec 9>$(BUILD)/.lock; flock 9; $(3) ) >$(BUILD)/log/$(2).log 2>&1 </dev/null; then echo "done, $$((SECONDS - start)) s"; \
else echo "failed; $(BUILD)/log/$(2).log ends:"; tail -n 30 $(BUILD)/log/$(2).log; exit 1; fi
endef

.DEFAULT_GOAL := help
.PHONY: help install-dep build plugin plugin-build plugin-deb install pkg-deb run test robot fuzz soak bench fmt check \
        clean dev c-build

help: ## what can be made
	@echo 'HashMVT: stateful NAT44 on match-value tables'
	@awk -F':.*## ' '/^[a-z-]+:.*## /{ printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Variables: DATAPLANE=embedded|vpp, JOBS=$(JOBS), FUZZ_SECONDS=$(FUZZ_SECONDS), SOAK_SECONDS=$(SOAK_SECONDS), PYTHON=...'

install-dep: ## install the packages that building and testing need (as root)
	@scripts/install-dep test

$(DEP_BUILD): scripts/install-dep
	@scripts/install-dep build
	@mkdir -p $(@D) && touch $@

$(DEP_TEST): scripts/install-dep
	@scripts/install-dep test
	@mkdir -p $(@D) && touch $@

$(VENV_PIP): py/pyproject.toml Makefile | $(DEP_BUILD)
	$(call step,Python environment in $(VENV),venv,\
	  [ -x $(BIN)/python ] || "$$(scripts/find-python)" -m venv $(VENV); \
	  $(BIN)/python -c 'import tomllib; needs = tomllib.load (open ("py/pyproject.toml", "rb")); \
	    print (*needs["build-system"]["requires"], sep="\n")' >$(BUILD)/log/build-requires.txt; \
	  $(BIN)/python -m pip install -q -r $(BUILD)/log/build-requires.txt)
	@touch $@

$(INSTALLED): $(VENV_PIP) $(PY_META) $(C_SOURCES)
	$(call step,C libraries and Python package,install,\
	  $(BIN)/python -m pip install -q --no-build-isolation -e py)
	@touch $@

$(DEV): $(INSTALLED) py/pyproject.toml Makefile
	$(call step,tools for tests and lint,dev,\
	  $(BIN)/python -m pip install -q --no-build-isolation -e $(EXTRAS))
	@touch $@

build: $(INSTALLED) plugin ## build; leaves hashmvt, hashmvt-agent and hashmvt-coord in .venv/bin

# Asked each time, for a VPP comes and goes behind make's back.
plugin: | $(DEP_BUILD) # the VPP plugin alone, in build/vpp/lib/vpp_plugins
	@mkdir -p $(BUILD)/log; flock $(BUILD)/.lock cmake -S . -B $(BUILD)/vpp -DHASHMVT_WITH_TESTS=OFF \
	  >$(VPP_LOG) 2>&1 || { tail -n 30 $(VPP_LOG); exit 1; }
	@said=$$(sed -n 's/^-- VPP plugin: //p' $(VPP_LOG)); case $$said in \
	  built*) $(MAKE) plugin-build;; *) printf '%-52s %s\n' 'VPP plugin' "$$said";; esac

plugin-build:
	$(call step,$(shell sed -n 's/^-- VPP plugin: built/VPP plugin/p' $(VPP_LOG)),plugin,\
	  cmake --build $(BUILD)/vpp --target hashmvt_plugin hashmvt_touch_plugin)

install: plugin ## install the VPP plugin beside the plugins of VPP (as root)
	@grep -q '^-- VPP plugin: built' $(VPP_LOG)
	@cmake --install $(BUILD)/vpp --component vpp-plugin-hashmvt

pkg-deb: build ## packages in dist/: the plugin's .deb where a VPP is installed, the Python wheel
	@rm -rf dist
	$(call step,Python wheel in dist/,wheel,\
	  $(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w dist ./py)
	@if grep -q '^-- VPP plugin: built' $(VPP_LOG); then $(MAKE) plugin-deb; \
	  else printf '%-52s %s\n' 'VPP plugin in dist/' 'not made, there is no plugin'; fi

plugin-deb:
	$(call step,VPP plugin in dist/,deb,\
	  cd $(BUILD)/vpp && rm -f *.deb && cpack -G DEB && cp *.deb ../../dist)

c-build: $(DEP_TEST) # the C libraries and their unit tests alone, in build/release
	@cmake -S . -B $(BUILD)/release -G Ninja -DHASHMVT_WITH_VPP=OFF >/dev/null
	@ninja -C $(BUILD)/release -j $(JOBS)

dev: $(DEP_TEST) $(DEV) plugin # the environment of the test runner

# what a VPP is spoken to with; an operator installs the package with its extra vpp
$(PAPI): $(INSTALLED) py/pyproject.toml
	$(call step,vpp-papi,papi,\
	  $(BIN)/python -m pip install -q --no-build-isolation -e 'py[vpp]')
	@touch $@

run: build $(if $(filter vpp,$(DATAPLANE)),$(PAPI)) ## real traffic through the NAT in network namespaces, proved from outside (1 minute; DATAPLANE=embedded or vpp)
	@$(BIN)/python -m demo --dataplane $(DATAPLANE)

test: ## install what is missing and run every test that this machine can run
	@scripts/run-tests

robot: build dev ## the Robot Framework suites (DATAPLANE=embedded or vpp)
	@scripts/run-tests --only robot-$(DATAPLANE)

fuzz: $(DEP_TEST) ## fuzz the packet path for FUZZ_SECONDS
	@scripts/run-tests --only fuzz --fuzz-seconds $(FUZZ_SECONDS)

soak: build dev ## churn in a real VPP for SOAK_SECONDS: everything must come back
	@$(BIN)/python -W ignore tests/vpp/soak.py --seconds $(SOAK_SECONDS)

bench: build ## measure an instance on this machine
	@$(BIN)/hashmvt bench nat

check: build dev ## lint: formatters, clang-tidy, ruff, mypy, import layers, spelling, licences
	@scripts/run-tests --only lint

fmt: $(DEP_TEST) $(DEV) ## format C, Python and Robot sources
	@find plugin tests -name '*.[ch]' -print0 | xargs -0 -r clang-format-15 -i
	@$(RUFF) format -q $(RUFF_PACKAGE)
	@$(RUFF) format -q $(RUFF_AROUND)
	@$(RUFF) check -q --fix-only $(RUFF_PACKAGE)
	@$(RUFF) check -q --fix-only $(RUFF_AROUND)

clean: ## remove everything that was built, also the Python environment's package
	@rm -rf $(BUILD) build-* py/build py/dist robot/output py/src/*.egg-info
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@rm -f $(INSTALLED) $(DEV) $(PAPI) $(VENV_PIP)
	@find py demo tests robot \( -name __pycache__ -o -name '_mvt*.so' -o -name '_mvt.c' \) -prune -exec rm -rf {} +
