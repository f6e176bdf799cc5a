#!/usr/bin/env bash
# Guess:     get_usage_metadata_callback adds up what was paid for, so an answer from the cache adds nothing.
# Really:    a cached answer is counted in full: the cache keeps the message with its usage, adds total_cost=0 to it,
#            and the handler sums the tokens again. And stream() never asks the cache, so the same question is paid for
#            again.
# Version:   langchain-core 1.8.3
# Date:      2026-11-29
# Seen:      tokens counted: [3, 6]; total_cost 0; streams: 2 of 2
# Matters:   a bill estimated from the callback is too high with a cache. Skip messages whose usage_metadata has
#            total_cost.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check langchain-core==1.8.3

cat > "$folder/run.py" <<'PYTHON'
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.language_models import FakeListChatModel, FakeMessagesListChatModel
from langchain_core.messages import AIMessage

usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
answer = AIMessage("hi", usage_metadata=usage, response_metadata={"model_name": "qwen"})
model = FakeMessagesListChatModel(responses=[answer], cache=InMemoryCache())
totals = []
with get_usage_metadata_callback() as callback:
    for _ in range(2):
        cached = model.invoke("hello")
        totals.append(callback.usage_metadata["qwen"]["total_tokens"])

streams = []


class Streaming(FakeListChatModel):
    def _stream(self, *args, **kwargs):
        streams.append(1)
        yield from super()._stream(*args, **kwargs)


streaming = Streaming(responses=["ab"], cache=InMemoryCache())
for _ in range(2):
    list(streaming.stream("hello"))
print(f"tokens counted: {totals}; total_cost {cached.usage_metadata['total_cost']}; streams: {len(streams)} of 2")
assert totals == [3, 6]
assert cached.usage_metadata["total_cost"] == 0
assert len(streams) == 2
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
