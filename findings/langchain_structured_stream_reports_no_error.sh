#!/usr/bin/env bash
# Guess:     where the answer does not fit the class, stream() of with_structured_output raises as invoke() does, or
#            puts the error under "parsing_error" with include_raw=True.
# Really:    the stream ends as a success without any object. PydanticToolsParser skips what does not validate as an
#            answer that is not complete yet, and never checks the last one. With include_raw=True the stream even says
#            parsing_error None, and has no "parsed".
# Version:   langchain-core 1.8.3
# Date:      2026-11-30
# Seen:      invoke: ValidationError, with include_raw ValidationError
#            stream: [], with include_raw [{'parsing_error': None}]
# Matters:   a loop over the stream does nothing, and a check of parsing_error passes. with_structured_output of
#            ChatModelStudio raises, or reports the error, in streams too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check langchain-core==1.8.3

cat > "$folder/run.py" <<'PYTHON'
import asyncio
from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import BaseModel

CALL = {"name": "City", "id": "call_1"}


class City(BaseModel):
    """A city."""

    people: int


class Model(BaseChatModel):
    """Calls City with a word where a number belongs."""

    _llm_type = "fake"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage("", tool_calls=[{**CALL, "args": {"people": "many"}}])
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        message = AIMessageChunk("", tool_call_chunks=[{**CALL, "args": '{"people": "many"}', "index": 0}])
        yield ChatGenerationChunk(message=message)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=tools, **kwargs)


def without_raw(pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [piece for piece in pieces if "raw" not in piece]


async def from_astream(runnable: Any) -> list[Any]:
    return [piece async for piece in runnable.astream("Rome?")]


plain = Model().with_structured_output(City)
raw = Model().with_structured_output(City, include_raw=True)
whole = "no error"
try:
    plain.invoke("Rome?")
except ValueError as error:
    whole = type(error).__name__
reported = type(raw.invoke("Rome?")["parsing_error"]).__name__
streamed = list(plain.stream("Rome?"))
streamed_raw = without_raw(list(raw.stream("Rome?")))
print(f"invoke: {whole}, with include_raw {reported}")
print(f"stream: {streamed}, with include_raw {streamed_raw}")
assert whole == reported == "ValidationError"
assert streamed == asyncio.run(from_astream(plain)) == []
assert streamed_raw == without_raw(asyncio.run(from_astream(raw))) == [{"parsing_error": None}]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
