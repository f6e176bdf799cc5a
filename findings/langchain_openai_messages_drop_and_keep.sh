#!/usr/bin/env bash
# Guess:     convert_to_openai_messages writes messages that an OpenAI-compatible service accepts and keeps what it
#            needs of them.
# Really:    with the default text_format a cache mark on a text block is dropped, a failed tool's status is dropped, an
#            invalid call is dropped while its answer stays, and a reasoning block is passed on as a content part of
#            type 'reasoning', which the service does not know.
# Version:   langchain-core 1.8.3
# Date:      2026-11-29
# Seen:      cache mark kept: False; calls before the answer: []; ['reasoning', 'text']
# Matters:   what a program converts by hand is answered with 400. Hand LangChain's messages to ChatModelStudio as they
#            are.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check langchain-core==1.8.3

cat > "$folder/run.py" <<'PYTHON'
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, convert_to_openai_messages

broken = {"type": "invalid_tool_call", "name": "f", "args": "{", "id": "call_1", "error": "cut"}
marked, thought, call, answer = convert_to_openai_messages(
    [
        HumanMessage([{"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}]),
        AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "hi"}]),
        AIMessage("", invalid_tool_calls=[broken]),
        ToolMessage("it failed", tool_call_id="call_1", status="error"),
    ]
)
parts = [part["type"] for part in thought["content"]]
print(f"cache mark kept: {'cache_control' in str(marked)}; calls before the answer: {call.get('tool_calls', [])}; {parts}")
assert "cache_control" not in str(marked)
assert "tool_calls" not in call and answer["tool_call_id"] == "call_1" and "error" not in answer.values()
assert parts == ["reasoning", "text"]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
