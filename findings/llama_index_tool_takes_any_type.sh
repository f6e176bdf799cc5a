#!/usr/bin/env bash
# Guess:     a FunctionTool whose parameter is an int checks the model's argument, or turns '5' into 5.
# Really:    the argument is passed on as it came: the schema is sent to the model, and nothing checks the call against
#            it. Only a name that the function lacks raises, a plain TypeError. What the tool returns reaches the model
#            by str(), so a dict is Python's repr and not JSON.
# Version:   llama-index-core 0.14.25, pydantic 2.14.4
# Date:      2026-11-29
# Seen:      a='5': '5' (str); a='x': 'x' (str); returned dict: {'found': True, 'next': None}
# Matters:   Qwen quotes a number now and then, and LangChain's tools convert it. In a LlamaIndex tool, convert it
#            yourself, and return json.dumps(...).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25 pydantic==2.14.4

cat > "$folder/run.py" <<'PYTHON'
from llama_index.core.tools import FunctionTool


def kind(a: int) -> str:
    """Return the value and its type."""
    return f"{a!r} ({type(a).__name__})"


def find() -> dict:
    """Find nothing more."""
    return {"found": True, "next": None}


tool = FunctionTool.from_defaults(kind)
five, word = tool.call(a="5").content, tool.call(a="x").content
found = FunctionTool.from_defaults(find).call().content
print(f"a='5': {five}; a='x': {word}; returned dict: {found}")
assert (five, word) == ("'5' (str)", "'x' (str)")
assert found == "{'found': True, 'next': None}"
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
