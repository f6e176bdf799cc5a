#!/usr/bin/env bash
# Guess:     leaving the stream of a chat engine early stops the model, as leaving llm.stream_chat() does.
# Really:    the engine reads the model by itself, in a thread or a task, and reads it to the end. Leaving the loop
#            over response_gen blocks until the model is done; leaving async_response_gen() does not, but the model is
#            read on in the background, and aclose() waits, too. The memory gets the whole answer, of which the user
#            saw a word.
# Version:   llama-index-core 0.14.25
# Date:      2026-11-30
# Seen:      stream_chat, left after 1 of 10 words: blocked True, 10 read; memory: 10 words
#            astream_chat: blocked False, 10 read a second later; aclose() blocked: True
# Matters:   a Stop button stops nothing: the tokens are generated and billed. llm.stream_chat() with a memory of your
#            own stops; the streams of ModelStudio close their request when they are left.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25

cat > "$folder/run.py" <<'PYTHON'
import asyncio
import time
from typing import Any

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, ChatResponse, MockLLM

PAUSE = 0.1
WORDS = [f"word{number} " for number in range(10)]
read: list[str] = []


def response(word: str) -> ChatResponse:
    read.append(word)
    return ChatResponse(message=ChatMessage(role="assistant", content="".join(read)), delta=word)


class Model(MockLLM):
    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        read.clear()
        for word in WORDS:
            time.sleep(PAUSE)
            yield response(word)

    async def astream_chat(self, messages: Any, **kwargs: Any) -> Any:
        async def words() -> Any:
            read.clear()
            for word in WORDS:
                await asyncio.sleep(PAUSE)
                yield response(word)

        return words()


def leave() -> tuple[bool, int, int]:
    engine = SimpleChatEngine.from_defaults(llm=Model())
    for _ in engine.stream_chat("Hi").response_gen:
        seen = time.monotonic()
        break
    waited = time.monotonic() - seen
    return waited > 5 * PAUSE, len(read), len(engine.chat_history[-1].content.split())


async def leave_async() -> tuple[bool, int, bool]:
    engine = SimpleChatEngine.from_defaults(llm=Model())
    texts = (await engine.astream_chat("Hi")).async_response_gen()
    async for _ in texts:
        seen = time.monotonic()
        break
    blocked = time.monotonic() - seen > 5 * PAUSE
    await asyncio.sleep(15 * PAUSE)
    later = len(read)
    texts = (await engine.astream_chat("Hi")).async_response_gen()
    await anext(texts)
    seen = time.monotonic()
    await texts.aclose()
    return blocked, later, time.monotonic() - seen > 5 * PAUSE


blocked, count, remembered = leave()
print(f"stream_chat, left after 1 of 10 words: blocked {blocked}, {count} read; memory: {remembered} words")
async_blocked, later, closed_late = asyncio.run(leave_async())
print(f"astream_chat: blocked {async_blocked}, {later} read a second later; aclose() blocked: {closed_late}")
assert (blocked, count, remembered) == (True, 10, 10)
assert (async_blocked, later, closed_late) == (False, 10, True)
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
