#!/usr/bin/env bash
# Guess:     Memory counts all that a message costs the model, so that get() stays below token_limit.
# Really:    thinking and tool calls count as nothing: 500 words of a call's arguments are 0 tokens, the same words as
#            text 500. A thread of large tool calls passes the limit without being trimmed.
# Version:   llama-index-core 0.14.25, pydantic 2.14.4
# Date:      2026-11-29
# Seen:      text 500, thinking 0, tool call 0; kept 40 of 40 messages at a limit of 300 tokens
# Matters:   agents that write files through tool arguments run into the model's window although the memory has a limit.
#            Set the limit well below the window, and see the usage of the answers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25 pydantic==2.14.4

cat > "$folder/run.py" <<'PYTHON'
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.memory import Memory

words = "word " * 500
memory = Memory.from_defaults(token_limit=300, chat_history_token_ratio=0.9, tokenizer_fn=str.split)


def count(block) -> int:
    return memory._estimate_token_count([ChatMessage(role="assistant", blocks=[block])])


calls = []
for number in range(20):
    call = ToolCallBlock(tool_call_id=str(number), tool_name="write", tool_kwargs={"text": words})
    calls += [ChatMessage(role="user", content="Go on."), ChatMessage(role="assistant", blocks=[call])]
memory.put_messages(calls)
text, thought = count(TextBlock(text=words)), count(ThinkingBlock(content=words))
call = count(ToolCallBlock(tool_call_id="1", tool_name="write", tool_kwargs={"text": words}))
kept = len(memory.get())
print(f"text {text}, thinking {thought}, tool call {call}; kept {kept} of 40 messages at a limit of 300 tokens")
assert (thought, call) == (0, 0) and text >= 500
assert kept == 40
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
