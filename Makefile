PYTHON ?= python3

# The versions that `make kind-up` uses: kind, the image of its node, and Kubeflow Pipelines.
KIND_VERSION ?= 0.32.0
KIND_NODE_IMAGE ?= kindest/node:v1.36.1@sha256:3489c7674813ba5d8b1a9977baea8a6e553784dab7b84759d1014dbd78f7ebd5
KFP_VERSION ?= 2.17.0

# ANYWAY=1 lets `make kind-up` go on if this machine lacks something.
ANYWAY ?=

# The data, the members and the folds of `make run`, and the folder of its results.
DATA ?= data/demo
MEMBERS ?= $(if $(filter data/demo,$(DATA)),demo)
FOLDS ?=
OUT ?= out/$(notdir $(abspath $(subst :,-,$(DATA))))$(addprefix -,$(firstword $(MEMBERS)))
ARGS ?=

# The build of torch: cuda or cpu. If it is empty, the environment gets cpu where there is no NVIDIA GPU and the index of
# that build answers, and the images get cpu, or cuda where they are built offline.
TORCH ?=

ENVIRONMENT := .venv/.complete
BIN := .venv/bin

# Tests run side by side, with one thread each, because threads that wait for each other's cores are slow. The tests of a
# file share what they make, so they stay together. COVERAGE=1 measures which lines they run, which takes as long again.
COVERAGE ?=
PYTEST := pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
test test-slow: export OMP_NUM_THREADS = 1

LOCKS := $(wildcard requirements/*.txt)
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation

# The images: their base, and the registry to push to. OFFLINE=1 builds them without a registry (on Debian, as root).
BASE ?= $(shell sed -n 's/^ARG BASE=//p' docker/Dockerfile)
REGISTRY ?=
OFFLINE ?=
IMAGES := data training results tagging onnx
VERSION = $(shell sed -n 's/^VERSION = "\(.*\)".*/\1/p' commands/__init__.py)
REVISION = $(shell git describe --always --dirty --abbrev=40 --exclude '*')
BUILD_OPTIONS = --build-arg BASE=$(BASE) --build-arg TORCH=$(AUDIOTAGGING_TORCH) \
	--label org.opencontainers.image.version=$(VERSION) --label org.opencontainers.image.revision=$(REVISION)
ifneq ($(OFFLINE),)
BASE := audiotagging-base:bookworm
BUILDER = audiotagging-builder:$(shell cat $(filter-out %/dev.txt,$(LOCKS)) docker/base-image.sh | sha256sum | cut -c 1-16)-$(AUDIOTAGGING_TORCH)
BUILD_OPTIONS += --build-arg BUILDER=$(BUILDER) --network none
endif
export AUDIOTAGGING_REGISTRY ?= $(REGISTRY)
export AUDIOTAGGING_TORCH ?= $(or $(TORCH),$(if $(OFFLINE),cuda,cpu))

.DEFAULT_GOAL := help
.PHONY: help run venv test test-all test-slow lint mutants bench pictures api dist clean lock audit images push base-image test-containers manifests kind-up kind-test kind-down

help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-18s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Train

run: $(ENVIRONMENT) $(if $(filter data/demo,$(DATA)),data/demo) ## Train, average and score the members, and replace OUT (DATA=DIR MEMBERS=reference FOLDS=0,1 OUT=DIR)
	$(BIN)/audiotagging run --data $(DATA) --out $(OUT) --keep-audio $(if $(MEMBERS),--members $(MEMBERS)) $(if $(FOLDS),--folds $(FOLDS)) --force $(ARGS)

data/demo: | $(ENVIRONMENT)
	$(BIN)/python -m audiotagging.demo $@

##@ Develop

venv: $(ENVIRONMENT) ## Only create the environment, .venv (TORCH=cpu for the small build of torch)

test: lint ## Check style and types, run the quick tests and a small run of the pipeline (COVERAGE=1: they run 95 % of the code)
	mkdir -p build && $(BIN)/coverage erase
	$(BIN)/$(if $(COVERAGE),coverage run -m )$(PYTEST)
	$(if $(COVERAGE),$(BIN)/coverage combine --quiet && $(BIN)/coverage report)

test-all: test test-slow test-containers ## Run all tests: those of `make test`, the slow ones, and those in containers

test-slow: $(ENVIRONMENT) ## Run the slow tests, which `make test` leaves out
	$(BIN)/$(PYTEST) -m "slow or kills"

lint: $(ENVIRONMENT) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

mutants: $(ENVIRONMENT) ## Change the code bit by bit, and print the changes that no test notices (up to an hour; MUTANTS="audiotagging.results.*")
	nice $(BIN)/mutmut run $(if $(MUTANTS),"$(MUTANTS)")
	$(BIN)/mutmut results

bench: $(ENVIRONMENT) ## Compare the speed of our code with alternatives
	$(BIN)/python -m benchmarks

pictures: $(ENVIRONMENT) ## Draw the pictures of the documentation; REPORT=OUT/report.html takes one of that report too (needs Chromium)
	$(BIN)/python -m docs.pictures $(REPORT)

api: $(ENVIRONMENT) ## Write docs/api.md, the reference of the library, from its docstrings
	$(BIN)/python -m docs.api

$(ENVIRONMENT): pyproject.toml $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
		{ echo "error: expected Python 3.11 to 3.14, found $$($(PYTHON) --version); name one: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --requirement requirements/build.txt
	$(PIP_INSTALL) --requirement requirements/dev.txt \
		--requirement requirements/torch-$(or $(TORCH),$$($(PYTHON) requirements/torch_build.py)).txt
	$(PIP_INSTALL) --editable .
	@touch $@

lock: ## Write requirements/ from the versions in pyproject.toml (UPGRADE=1 renews the indirect ones too)
	PYTHON=$(PYTHON) requirements/lock.sh $(if $(UPGRADE),--upgrade)

audit: $(ENVIRONMENT) ## Look the locked packages up in the database of known vulnerabilities
	@$(BIN)/python -c 'import requests; requests.get("https://pypi.org/pypi/pip/26.3/json", timeout=20).raise_for_status()' \
		2>/dev/null || { echo "audit: PyPI's database of vulnerabilities does not answer here; nothing was checked"; exit 3; }
	$(BIN)/pip-audit --disable-pip --strict --requirement requirements/dev.txt --requirement requirements/torch-cuda.txt

dist: $(ENVIRONMENT) ## Build the source distribution and, from that, the wheel, in dist/
	rm -rf dist
	$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')" >/dev/null
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	@ls dist/*

clean: ## Remove the environment, the demo data and all results
	rm -rf .venv build dist mutants data/demo out

##@ Containers

images: $(IMAGES:%=sbom-%) ## Build the images of the stages, and list what is in them in build/sbom (TORCH=cuda, OFFLINE=1)

image-%: $(if $(OFFLINE),base-image)
	$(PYTHON) components/images.py --context $* | docker build $(BUILD_OPTIONS) --file docker/Dockerfile --target $* \
		--tag $$($(PYTHON) components/images.py $*) -

$(IMAGES:%=sbom-%) sbom-client: sbom-%: image-% $(ENVIRONMENT)
	$(BIN)/python -m components.sbom $*

push: $(IMAGES:%=push-%) push-client ## Build the images and push them (REGISTRY=HOST/PATH)

push-%: image-%
	docker push $$($(PYTHON) components/images.py $*)

base-image: $(ENVIRONMENT)
	PYTHON=$(BIN)/python docker/base-image.sh $(BASE) $(BUILDER) $(AUDIOTAGGING_TORCH)

test-containers: export AUDIOTAGGING_TORCH := $(or $(TORCH),cuda)
test-containers: $(ENVIRONMENT) ## Build the images without a registry, and run the pipeline in them (starts Docker as root)
	docker/engine.sh
	$(MAKE) images sbom-client OFFLINE=1
	$(BIN)/pytest -m containers

##@ Cluster

OVERLAY ?= gpu

manifests: ## Print the manifests for `kubectl apply -f -` (OVERLAY=gpu REGISTRY=HOST/PATH TORCH=cuda)
	@kubectl kustomize manifests/overlays/$(OVERLAY) | sed \
		-e "s|image: audiotagging-client$$|image: $$($(PYTHON) components/images.py client)|" \
		-e "s|image: audiotagging-tagging$$|image: $$($(PYTHON) components/images.py tagging)|" \
		-e 's|AUDIOTAGGING_REGISTRY: ""|AUDIOTAGGING_REGISTRY: "$(AUDIOTAGGING_REGISTRY)"|'

kind-up kind-test kind-down: kind-%: $(ENVIRONMENT)
	KIND_VERSION=$(KIND_VERSION) KIND_NODE_IMAGE=$(KIND_NODE_IMAGE) KFP_VERSION=$(KFP_VERSION) \
		PYTHON=$(BIN)/python MAKE=$(MAKE) ANYWAY=$(ANYWAY) manifests/kind.sh $*

kind-up: ## Create a local cluster with Kubeflow Pipelines (needs docker, kind, kubectl; ANYWAY=1 whatever is missing)
kind-test: ## Run and schedule the pipeline on the local cluster, with simulated GPUs
kind-down: ## Delete the local cluster
