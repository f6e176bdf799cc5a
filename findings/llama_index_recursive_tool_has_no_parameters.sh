#!/usr/bin/env bash
# Guess:     ToolMetadata(fn_schema=Node).get_parameters_dict() of a recursive class is pydantic's schema without titles.
# Really:    it copies "type", "properties", "required", "definitions" and "$defs", and pydantic puts a recursive class
#            behind a "$ref" at the root. So the parameters are {"$defs": ...} alone: no type, no properties, nothing
#            that says which definition is meant.
# Version:   llama-index-core 0.14.25
# Date:      2026-11-29
# Seen:      pydantic:    ['$defs', '$ref']
#            llama-index: ['$defs']
# Matters:   structured_predict and tools with a recursive class: the model sees a function without parameters. This
#            package sends the schema that pydantic generates.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25

cat > "$folder/run.py" <<'PYTHON'
from __future__ import annotations

from llama_index.core.tools import ToolMetadata
from pydantic import BaseModel


class Node(BaseModel):
    """A node of a tree."""

    name: str
    children: list[Node] = []


own = sorted(Node.model_json_schema())
sent = sorted(ToolMetadata("A node.", "node", Node).get_parameters_dict())
print(f"pydantic:    {own}")
print(f"llama-index: {sent}")
assert own == ["$defs", "$ref"]
assert sent == ["$defs"]
PYTHON

"$folder/env/bin/python" -W ignore "$folder/run.py"
