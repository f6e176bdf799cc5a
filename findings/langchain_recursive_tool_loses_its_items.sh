#!/usr/bin/env bash
# Guess:     convert_to_openai_tool of a recursive pydantic class keeps "$ref" where the class recurs, as pydantic's own
#            schema does.
# Really:    the definitions are inlined, the place where the class recurs becomes {}, and "$defs" is dropped. So the
#            model is told that a child may be anything.
# Version:   langchain-core 1.8.3, pydantic 2.13.0
# Date:      2026-11-29
# Seen:      pydantic:       {'$ref': '#/$defs/Node'}
#            langchain-core: {}
# Matters:   tools that take trees (menus, outlines, query plans). No error is raised; the calls just stop fitting. This
#            package converts recursive tools itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check langchain-core==1.8.3 pydantic==2.13.0

cat > "$folder/run.py" <<'PYTHON'
from __future__ import annotations

from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel


class Node(BaseModel):
    """A node of a tree."""

    name: str
    children: list[Node] = []


own = Node.model_json_schema()["$defs"]["Node"]["properties"]["children"]["items"]
parameters = convert_to_openai_tool(Node)["function"]["parameters"]
items = parameters["properties"]["children"]["items"]
print(f"pydantic:       {own}")
print(f"langchain-core: {items}")
assert own == {"$ref": "#/$defs/Node"}
assert items == {}
assert "$defs" not in parameters
PYTHON

"$folder/env/bin/python" "$folder/run.py"
