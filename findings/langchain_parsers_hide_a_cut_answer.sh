#!/usr/bin/env bash
# Guess:     a parser raises OutputParserException where the JSON that it is given was cut off.
# Really:    JsonOutputParser closes the open brackets and returns what it has, and
#            PydanticToolsParser(first_tool_only=True) returns None for a message whose only call is invalid. Neither
#            raises, on the whole message too and not only while streaming.
# Version:   langchain-core 1.8.3
# Date:      2026-11-29
# Seen:      cut JSON: {'rooms': [{'name': 'kitchen', 'area': 1}]}; invalid call: None
# Matters:   an answer that max_tokens cut looks complete, and a number loses digits. Check
#            response_metadata['finish_reason'], or use with_structured_output, which raises here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check langchain-core==1.8.3

cat > "$folder/run.py" <<'PYTHON'
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.output_parsers.openai_tools import PydanticToolsParser
from pydantic import BaseModel


class Rooms(BaseModel):
    names: list[str]


json_answer = JsonOutputParser().invoke(AIMessage('{"rooms": [{"name": "kitchen", "area": 1'))
broken = {"type": "invalid_tool_call", "name": "Rooms", "args": '{"names": ["kit', "id": "call_1", "error": "cut"}
call = PydanticToolsParser(tools=[Rooms], first_tool_only=True).invoke(AIMessage("", invalid_tool_calls=[broken]))
print(f"cut JSON: {json_answer}; invalid call: {call}")
assert json_answer == {"rooms": [{"name": "kitchen", "area": 1}]}
assert call is None
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
