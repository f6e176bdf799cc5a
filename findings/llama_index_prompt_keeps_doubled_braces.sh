#!/usr/bin/env bash
# Guess:     as in str.format, {{ in a PromptTemplate stands for one brace.
# Really:    doubled braces stay doubled: the formatter replaces {name} and knows no escape, so an example of JSON
#            reaches the model as {{...}}. Single braces around anything that is no variable are left alone, so JSON
#            needs no escape at all.
# Version:   llama-index-core 0.14.25, pydantic 2.14.4
# Date:      2026-11-29
# Seen:      doubled: 'Q: hi {{"a": 1}}'; single: 'Q: hi {"a": 1}'
# Matters:   prompts moved from LangChain, where braces must be doubled, show the model a wrong example of the JSON it
#            is to write.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25 pydantic==2.14.4

cat > "$folder/run.py" <<'PYTHON'
from llama_index.core.prompts import PromptTemplate

doubled = PromptTemplate('Q: {q} {{"a": 1}}').format(q="hi")
single = PromptTemplate('Q: {q} {"a": 1}').format(q="hi")
print(f"doubled: {doubled!r}; single: {single!r}")
assert doubled == 'Q: hi {{"a": 1}}'
assert single == 'Q: hi {"a": 1}'
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
