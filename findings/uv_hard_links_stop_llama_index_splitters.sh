#!/usr/bin/env bash
# Guess:     It makes no difference to LlamaIndex whether pip or uv installs it.
# Really:    uv links the installed files to its cache by default on Linux, and nltk refuses to read a file with more than
#            one link. LlamaIndex brings nltk's word lists in its package, so its default splitter, and with it each index
#            over documents, raises PermissionError. Embedding, chat and agents work. pip, and uv with copies, work too.
# Version:   uv 0.13.9, llama-index-core 0.14.23, nltk 3.10.4
# Date:      2026-11-29
# Seen:      hardlink: PermissionError, refusing multiply-linked file; copy: 2 chunks
# Matters:   "Security Violation" reads as if the documents were at fault. docs/get-started.md says to install with
#            UV_LINK_MODE=copy.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/uv"
"$folder/uv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9

cat > "$folder/run.py" <<'PYTHON'
from llama_index.core.node_parser import SentenceSplitter

text = "The lighthouse has 120 steps. The keeper counts them each night. " * 2
try:
    chunks = SentenceSplitter(chunk_size=30, chunk_overlap=0).split_text(text)
    print(len(chunks), "chunks")
except PermissionError as error:
    print("PermissionError,", "refusing multiply-linked file" if "multiply-linked" in str(error) else error)
PYTHON

export UV_CACHE_DIR="$folder/cache" UV_PYTHON_DOWNLOADS=never
unset UV_LINK_MODE
seen() {  # with the link mode $1, or uv's default
    "$folder/uv/bin/uv" venv --quiet --python "$folder/uv/bin/python" "$folder/$1"
    "$folder/uv/bin/uv" pip install --quiet --python "$folder/$1" ${2:-} llama-index-core==0.14.23 nltk==3.10.4
    echo "$1: $("$folder/$1/bin/python" "$folder/run.py")"
}
seen hardlink > "$folder/seen"
seen copy --link-mode=copy >> "$folder/seen"
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
hardlink: PermissionError, refusing multiply-linked file
copy: 2 chunks
EXPECTED
