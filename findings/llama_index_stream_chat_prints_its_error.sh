#!/usr/bin/env bash
# Guess:     an error in the stream of a chat engine is raised to the caller, who handles it. Nothing else is seen.
# Really:    sync stream_chat reads the model in a thread of its own. An error is stored for the caller and raised again in
#            that thread, so Python prints its traceback as well. astream_chat prints nothing.
# Version:   llama-index-core 0.14.25
# Date:      2026-11-29
# Seen:      stream_chat: ConnectionError raised, 'Exception in thread' printed
#            astream_chat: ConnectionError raised, nothing printed
# Matters:   logs show a traceback of each error that the application has handled. Use astream_chat, or set a
#            threading.excepthook.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25

cat > "$folder/run.py" <<'PYTHON'
import asyncio
import contextlib
import io
import threading
from typing import Any

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MockLLM


class Lost(MockLLM):
    """Streams three words, then loses its connection."""

    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        def stream() -> Any:
            yield from MockLLM.stream_chat(self, messages)
            raise ConnectionError("lost")

        return stream()

    async def astream_chat(self, messages: Any, **kwargs: Any) -> Any:
        async def stream() -> Any:
            for response in MockLLM.stream_chat(self, messages):
                yield response
            raise ConnectionError("lost")

        return stream()


def sync() -> None:
    response = SimpleChatEngine.from_defaults(llm=Lost(max_tokens=3)).stream_chat("Hello")
    print(list(response.response_gen))


async def asynchronous() -> None:
    response = await SimpleChatEngine.from_defaults(llm=Lost(max_tokens=3)).astream_chat("Hello")
    print([text async for text in response.async_response_gen()])


def seen(run: Any) -> tuple[str, str]:
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        try:
            run()
        except ConnectionError as error:
            for thread in threading.enumerate():
                if thread is not threading.current_thread():
                    thread.join(10)
            return type(error).__name__, printed.getvalue()
    raise AssertionError("no error was raised")


raised, printed = seen(sync)
assert raised == "ConnectionError" and printed.startswith("Exception in thread"), (raised, printed)
print(f"stream_chat: {raised} raised, 'Exception in thread' printed")
raised, printed = seen(lambda: asyncio.run(asynchronous()))
assert (raised, printed) == ("ConnectionError", ""), (raised, printed)
print(f"astream_chat: {raised} raised, nothing printed")
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
