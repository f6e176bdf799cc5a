#!/usr/bin/env bash
# Guess:     in a trace, a stream that the caller leaves after the first words is a call that succeeded.
# Really:    it is a failed one: the GeneratorExit by which Python closes a generator is reported as an error of the
#            model, and the span has status ERROR, an exception and no token counts. LangChain calls on_llm_error
#            itself, so other handlers see the same.
# Version:   langchain-core 1.8.3, llama-index-core 0.14.25, openinference-instrumentation-langchain 0.1.80,
#            openinference-instrumentation-llama-index 4.6.1, opentelemetry-sdk 1.45.2
# Date:      2026-11-30
# Seen:      langchain: read to the end ('OK', 4), left ('ERROR GeneratorExit', None), where 4 are the tokens
#            llama-index: read to the end ('OK', 4), left ('ERROR GeneratorExit', None)
#            on_llm_error: ['GeneratorExit']
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

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
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
errors: list[str] = []


class Handler(BaseCallbackHandler):
    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        errors.append(type(error).__name__)


class ChatModel(BaseChatModel):
    _llm_type = "fake"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for word in "abc":
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        usage = {"input_tokens": 1, "output_tokens": 3, "total_tokens": 4}
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=usage))


class Model(MockLLM):
    @llm_chat_callback()
    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        def words() -> Iterator[ChatResponse]:
            usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
            for word in "abc":
                message = ChatMessage(role="assistant", content=word)
                yield ChatResponse(message=message, delta=word, raw={"usage": usage if word == "c" else None})

        return words()


def traced(stream: Callable[[], Iterator[Any]], *, leave: bool) -> tuple[str, int | None]:
    """Return the status and the tokens of the span of a stream."""
    spans.clear()
    pieces = stream()
    next(pieces)
    if leave:
        pieces.close()
    else:
        list(pieces)
    [span] = spans.get_finished_spans()
    status = f"{span.status.status_code.name} {(span.status.description or '')[:13]}".strip()
    return status, span.attributes.get("llm.token_count.total")


streams = {
    "langchain": lambda: ChatModel(callbacks=[Handler()]).stream("Hi"),
    "llama-index": lambda: Model().stream_chat([ChatMessage("Hi")]),
}
for name, stream in streams.items():
    whole, left = traced(stream, leave=False), traced(stream, leave=True)
    print(f"{name}: read to the end {whole}, left {left}")
    assert (whole, left) == (("OK", 4), ("ERROR GeneratorExit", None))
print(f"on_llm_error: {errors}")
assert errors == ["GeneratorExit"]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
