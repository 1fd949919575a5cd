# make run                      set up, index the sample documents, serve http://127.0.0.1:8000
# make test                     set up, then lint, types and the whole test suite
# make lint format typecheck    one of these alone; format rewrites
# make cancels                  2,000 cancels at random moments for each provider (some minutes)
# make coverage                 the test suite, and which lines it ran
# make bench bench-check        how many callers this machine holds; whether it got worse (a minute)
# make drain knocking soak      SIGTERM while 50 speak; a full server; 10,000 calls, a third of them rude
# make networks peers           calls over networks that lose and reorder (8 minutes, root); 40 peers
# make up down logs             docker compose, with what COMPOSE_PROFILES in .env says

PYTHON ?= python3
BIN := .venv/bin
export UV_PROJECT_ENVIRONMENT := .venv
export VIRTUAL_ENV := $(CURDIR)/.venv

EDITABLE := $(BIN)/uv pip install -q --no-deps --no-build-isolation -e .

.PHONY: run test cancels lint format typecheck coverage bench bench-check drain knocking soak networks peers up down logs lock lock-tts clean

# The samples are for a first look: an index that is there already stays as it is.
run: .venv/run.stamp
	test -e "$$($(BIN)/kaiwa config get rag.index)/current" || $(BIN)/kaiwa ingest rag/samples
	$(BIN)/kaiwa serve

test: .venv/dev.stamp lint typecheck
	tests/clients/setup.sh
	tests/semantic/setup.sh
	$(BIN)/pytest

cancels: .venv/dev.stamp
	KAIWA_CANCELS=2000 $(BIN)/pytest -m cancels --durations=0

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint docker/Dockerfile docker/*/Dockerfile
	$(BIN)/shellcheck .ci/run docker/*/*.sh tests/*/setup.sh

format: .venv/dev.stamp
	$(BIN)/ruff format .

typecheck: .venv/dev.stamp
	$(BIN)/mypy

coverage: .venv/dev.stamp
	tests/clients/setup.sh
	tests/semantic/setup.sh
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report --skip-covered

bench: .venv/run.stamp
	$(BIN)/kaiwa bench --callers 25 --ramp --turns 3 --warmup 1

bench-check: .venv/run.stamp
	$(BIN)/kaiwa bench --compare voice/bench/baseline.json

drain: .venv/run.stamp
	$(BIN)/kaiwa bench --callers 50 --drain

knocking: .venv/run.stamp
	$(BIN)/kaiwa bench --callers 50 --knocking 5 --turns 10 --barge-in-every 0

soak: .venv/dev.stamp
	$(BIN)/python -m tests.soak $(or $(CALLS),10000)

networks: .venv/dev.stamp
	$(BIN)/python -m tests.networks
	$(BIN)/python -m tests.networks --human

peers: .venv/dev.stamp
	$(BIN)/python -m tests.webrtc.shards --processes 2 --peers 40
	$(BIN)/python -m tests.webrtc.shards --processes 2 --peers 40 --media

up:
	docker compose up -d --build

down:
	docker compose down

logs:
	docker compose logs -f backend

# uv installs in seconds what takes pip a minute; pip is there for those whose index only pip knows.
.venv/bin/uv: requirements-uv.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kaiwa needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.lock
	touch $@

.venv/run.stamp: requirements.lock pyproject.toml .venv/bin/uv
	$(BIN)/uv pip install -q --require-hashes -r requirements.lock || $(BIN)/pip install --require-hashes -r requirements.lock
	$(EDITABLE)
	touch $@

# Sync takes out what no lock names: a package put in by hand would hide that it is required.
.venv/dev.stamp: requirements-dev.lock .venv/run.stamp
	$(BIN)/uv pip sync -q --require-hashes requirements-dev.lock || $(BIN)/pip install --require-hashes -r requirements-dev.lock
	$(EDITABLE)
	touch $@

# Pins and hashes, no addresses: any index serves them.
lock: .venv/bin/uv
	$(BIN)/uv pip compile pyproject.toml requirements-build.in $(LOCK) -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml requirements-build.in --extra dev --extra japanese $(LOCK) -c requirements.lock -o requirements-dev.lock
LOCK := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url -q --upgrade

# What the image of Fish Speech gets beside torch, as it was when that came out.
lock-tts: .venv/bin/uv
	cd docker/tts-fish-speech && ../../$(BIN)/uv pip compile requirements.in --override overrides.txt \
		--python-version 3.12 --python-platform x86_64-manylinux_2_28 --exclude-newer 2025-08-12 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url -q -o requirements.lock \
		$(addprefix --no-emit-package ,torch torchaudio triton $(addsuffix -cu12,$(addprefix nvidia-,$(CUDA))))
CUDA := cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn cufft cufile curand cusolver cusparse \
	cusparselt nccl nvjitlink nvtx

clean:
	rm -rf .venv .venv-clients .venv-node .venv-semantic data/* tests/clients/node/node_modules
