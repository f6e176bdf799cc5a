#!/usr/bin/env bash
# Guess:     the content of a message whose text is in two blocks is the blocks' text, joined.
# Really:    a newline stands between them, inside a word too, and no text is told apart from no content: content is
#            None for a message of one tool call and '' for an empty one.
# Version:   llama-index-core 0.14.25, pydantic 2.14.4
# Date:      2026-11-29
# Seen:      two blocks: 'Hel\nlo'; one tool call: None; empty: ''
# Matters:   a model class that starts a new TextBlock for each piece of a stream shows broken words. The class here
#            keeps one block of text between two others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25 pydantic==2.14.4

cat > "$folder/run.py" <<'PYTHON'
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock

two = ChatMessage(role="assistant", blocks=[TextBlock(text="Hel"), TextBlock(text="lo")]).content
call = ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_call_id="1", tool_name="f", tool_kwargs={})]).content
empty = ChatMessage(role="assistant", content="").content
print(f"two blocks: {two!r}; one tool call: {call!r}; empty: {empty!r}")
assert two == "Hel\nlo"
assert call is None
assert empty == ""
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
