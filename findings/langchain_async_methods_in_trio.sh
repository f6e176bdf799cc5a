#!/usr/bin/env bash
# Guess:     LangChain's async methods run on trio, as httpx does, or say that they need asyncio.
# Really:    none runs. ainvoke() fails with a TypeError of trio, which has met a future of asyncio. astream() fails so
#            with any callback, and without one with "RuntimeError: no running event loop", though one runs. The callbacks
#            hear of nothing, not even of the error.
# Version:   langchain-core 1.8.3, trio 0.35.0
# Date:      2026-11-29
# Seen:      without callbacks: ainvoke TypeError, astream RuntimeError; with: ainvoke TypeError, astream TypeError;
#            heard: []
# Matters:   the RuntimeError is looked for in the wrong place, and no trace shows the call. Call the sync methods in
#            trio.to_thread.run_sync. ChatModelStudio refuses trio by name.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check langchain-core==1.8.3 trio==0.35.0

cat > "$folder/run.py" <<'PYTHON'
import trio
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

heard = []


class Listener(BaseCallbackHandler):
    def on_chat_model_start(self, *args, **kwargs):
        heard.append("start")

    def on_llm_error(self, *args, **kwargs):
        heard.append("error")


def model(callbacks) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage("one two")]), callbacks=callbacks)


async def invoke(callbacks) -> None:
    await model(callbacks).ainvoke("hi")


async def stream(callbacks) -> None:
    async for _ in model(callbacks).astream("hi"):
        pass


def failed(call, callbacks) -> str:
    try:
        trio.run(call, callbacks)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "works"


found = [failed(call, callbacks) for callbacks in (None, [Listener()]) for call in (invoke, stream)]
print(*(text[:60] for text in found), f"heard: {heard}", sep="\n")
assert [text.partition(":")[0] for text in found] == ["TypeError", "RuntimeError", "TypeError", "TypeError"]
assert found[1] == "RuntimeError: no running event loop"
assert heard == []
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
