#!/usr/bin/env bash
# Guess:     in a trace, a stream that the caller leaves after the first words is a call that succeeded.
# Really:    it is a failed one: the GeneratorExit by which Python closes a generator is reported as an error of the
#            model, and the span has status ERROR, an exception and no token counts. LangChain calls on_llm_error
#            itself, so LangSmith and any handler see the same.
# Version:   langchain-core 1.8.3, llama-index-core 0.14.25, openinference-instrumentation-langchain 0.1.80,
#            openinference-instrumentation-llama-index 4.6.1, opentelemetry-sdk 1.45.2
# Date:      2026-11-30
# Seen:      langchain: read to the end OK, left ERROR GeneratorExit
#            llama-index: read to the end OK, left ERROR GeneratorExit
# Matters:   each Stop button, stop condition and closed browser tab counts as a failure of the model, and wakes
#            whoever watches the error rate. Leave out GeneratorExit there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    langchain-core==1.8.3 llama-index-core==0.14.25 openinference-instrumentation-langchain==0.1.80 \
    openinference-instrumentation-llama-index==4.6.1 opentelemetry-sdk==1.45.2

cat > "$folder/run.py" <<'PYTHON'
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.language_models import FakeListChatModel
from llama_index.core.llms import ChatMessage, ChatResponse, MockLLM
from llama_index.core.llms.callbacks import llm_chat_callback
from openinference.instrumentation.langchain import LangChainInstrumentor
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
LangChainInstrumentor().instrument(tracer_provider=provider)
LlamaIndexInstrumentor().instrument(tracer_provider=provider)


class Model(MockLLM):
    @llm_chat_callback()
    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        def words() -> Iterator[ChatResponse]:
            for word in "abc":
                yield ChatResponse(message=ChatMessage(role="assistant", content=word), delta=word)

        return words()


def status(stream: Callable[[], Iterator[Any]], *, leave: bool) -> str:
    spans.clear()
    pieces = stream()
    next(pieces)
    if leave:
        pieces.close()
    else:
        list(pieces)
    [span] = spans.get_finished_spans()
    return f"{span.status.status_code.name} {(span.status.description or '')[:13]}".strip()


streams = {
    "langchain": lambda: FakeListChatModel(responses=["abc"]).stream("Hi"),
    "llama-index": lambda: Model().stream_chat([ChatMessage("Hi")]),
}
for name, stream in streams.items():
    whole, left = status(stream, leave=False), status(stream, leave=True)
    print(f"{name}: read to the end {whole}, left {left}")
    assert (whole, left) == ("OK", "ERROR GeneratorExit")
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
