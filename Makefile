PYTHON ?= python3

# The versions that `make kind-up` uses: kind, the image of its node, and Kubeflow Pipelines.
KIND_VERSION ?= 0.32.0
KIND_NODE_IMAGE ?= kindest/node:v1.36.1
KFP_VERSION ?= 2.17.0

# The data, the members and the folds of `make run`, and the folder of its results.
DATA ?= data/demo
MEMBERS ?= demo
FOLDS ?= -1
OUT ?= out/$(notdir $(abspath $(subst :,-,$(DATA))))-$(firstword $(MEMBERS))
ARGS ?=

# The build of torch in the environment: empty for pip's choice (CUDA on Linux), or cpu.
TORCH ?=
PIP_OPTIONS := $(if $(filter cpu,$(TORCH)),--extra-index-url https://download.pytorch.org/whl/cpu)

ENVIRONMENT := .venv/.complete
BIN := .venv/bin

# The images: their base, and the registry to push to. OFFLINE=1 builds them without a registry (on Debian, as root).
BASE ?= python:3.11-slim-bookworm
REGISTRY ?=
OFFLINE ?=
IMAGES := data training results
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION = $(shell git describe --always --dirty --abbrev=40 --exclude '*')
BUILD_OPTIONS = --build-arg BASE=$(BASE) --build-arg TORCH=$(AUDIOTAGGING_TORCH) \
	--label org.opencontainers.image.version=$(VERSION) --label org.opencontainers.image.revision=$(REVISION)
ifneq ($(OFFLINE),)
BASE := audiotagging-base:bookworm
BUILDER = audiotagging-builder:$(shell cat pyproject.toml constraints.txt docker/base-image.sh | sha256sum | cut -c 1-16)-$(AUDIOTAGGING_TORCH)
BUILD_OPTIONS += --build-arg BUILDER=$(BUILDER) --network none
endif
export AUDIOTAGGING_REGISTRY ?= $(REGISTRY)
export AUDIOTAGGING_TORCH ?= $(or $(TORCH),cpu)

.DEFAULT_GOAL := help
.PHONY: help run venv test lint unit-test pipeline-test mutants bench pictures clean lock images push base-image test-containers manifests kind-up kind-test kind-down

help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-18s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Train

run: $(ENVIRONMENT) $(if $(filter data/demo,$(DATA)),data/demo) ## Train, average and score the members, and replace OUT (DATA=DIR MEMBERS=reference FOLDS=0,1 OUT=DIR)
	$(BIN)/python pipeline.py run --data $(DATA) --out $(OUT) --members $(MEMBERS) --folds $(FOLDS) --force $(ARGS)

data/demo: | $(ENVIRONMENT)
	$(BIN)/python -m audiotagging.data.synthetic $@

##@ Develop

venv: $(ENVIRONMENT) ## Only create the environment, .venv (TORCH=cpu for the small build of torch)

test: lint ## Check style and types, run all tests but those in containers; they must run 95 % of the code
	mkdir -p build && $(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage run -m pytest -m pipeline
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report

lint: $(ENVIRONMENT) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit-test: $(ENVIRONMENT) ## Run the unit tests and the examples in docstrings
	$(BIN)/pytest

pipeline-test: $(ENVIRONMENT) ## Run the whole pipeline on small data, and check its results
	$(BIN)/pytest -m pipeline

mutants: $(ENVIRONMENT) ## Change the code bit by bit, and print the changes that no test notices (hours; MUTANTS="audiotagging.results.*")
	nice $(BIN)/mutmut run $(if $(MUTANTS),"$(MUTANTS)")
	$(BIN)/mutmut results

bench: $(ENVIRONMENT) ## Compare the speed of our code with alternatives
	$(BIN)/python -m benchmarks

pictures: $(ENVIRONMENT) ## Draw the pipeline for the README; REPORT=OUT/report.html takes a picture of that report too (needs Chromium)
	$(BIN)/python -m docs.pictures $(REPORT)

$(ENVIRONMENT): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_OPTIONS) --constraint constraints.txt --editable '.[dev]'
	@touch $@

lock: ## Write constraints.txt from the versions in pyproject.toml (on Linux, where torch depends on the CUDA packages)
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet '.[dev]'
	{ head -2 constraints.txt; \
		build/lock/bin/pip freeze --all --exclude audiotagging --exclude pip | tr '[:upper:]_' '[:lower:]-' | sort; \
	} > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean: ## Remove the environment, the demo data and all results
	rm -rf .venv build mutants data/demo out

##@ Containers

images: $(IMAGES:%=image-%) ## Build the images of the stages (TORCH=cuda, OFFLINE=1)

image-%: $(if $(OFFLINE),base-image)
	$(PYTHON) components/images.py --context $* | docker build $(BUILD_OPTIONS) --file docker/Dockerfile --target $* \
		--tag $$($(PYTHON) components/images.py $*) -

push: $(IMAGES:%=push-%) push-client ## Build the images and push them (REGISTRY=HOST/PATH)

push-%: image-%
	docker push $$($(PYTHON) components/images.py $*)

base-image: $(ENVIRONMENT)
	PYTHON=$(BIN)/python docker/base-image.sh $(BASE) $(BUILDER) $(AUDIOTAGGING_TORCH)

test-containers: $(ENVIRONMENT) ## Build the images without a registry, and run the pipeline in them (starts Docker as root)
	docker/engine.sh
	$(MAKE) images image-client OFFLINE=1
	$(BIN)/pytest -m containers

##@ Cluster

OVERLAY ?= gpu

manifests: ## Print the manifests for `kubectl apply -f -` (OVERLAY=gpu REGISTRY=HOST/PATH)
	@kubectl kustomize manifests/overlays/$(OVERLAY) | sed \
		-e "s|image: audiotagging-client$$|image: $$($(PYTHON) components/images.py client)|" \
		-e 's|AUDIOTAGGING_REGISTRY: ""|AUDIOTAGGING_REGISTRY: "$(AUDIOTAGGING_REGISTRY)"|'

kind-up kind-test kind-down: kind-%: $(ENVIRONMENT)
	KIND_VERSION=$(KIND_VERSION) KIND_NODE_IMAGE=$(KIND_NODE_IMAGE) KFP_VERSION=$(KFP_VERSION) \
		PYTHON=$(BIN)/python MAKE=$(MAKE) manifests/kind.sh $*

kind-up: ## Create a local cluster with Kubeflow Pipelines (needs docker, kind, kubectl)
kind-test: ## Run and schedule the pipeline on the local cluster, with simulated GPUs
kind-down: ## Delete the local cluster
