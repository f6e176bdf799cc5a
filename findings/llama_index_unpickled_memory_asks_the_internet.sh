#!/usr/bin/env bash
# Guess:     a memory that counts tokens offline in one process, with the vocabulary that comes with llama-index-core,
#            counts them in a process that gets it pickled.
# Really:    pickle.load() of it asks openaipublic.blob.core.windows.net for the vocabulary, and fails where there is no
#            way to it. The pickled tokenizer is tiktoken's, which looks into TIKTOKEN_CACHE_DIR; LlamaIndex sets that
#            only while it makes a tokenizer of its own. A process that has made one before loads the same bytes.
# Version:   llama-index-core 0.14.25, tiktoken 0.14.0
# Date:      2026-11-29
# Seen:      fresh process: ProxyError; after making a tokenizer: 1 message
# Matters:   memories that a process pool or Dask sends to a worker without internet. Call
#            llama_index.core.utils.get_tokenizer() in the worker first, or send memory.to_dict().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25 tiktoken==0.14.0

cat > "$folder/run.py" <<'PYTHON'
import os
import pickle
import subprocess
import sys

from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer

memory = ChatMemoryBuffer.from_defaults(chat_history=[ChatMessage("hi")], token_limit=100)
with open("memory.pickle", "wb") as file:
    pickle.dump(memory, file)

LOAD = "print(len(pickle.load(open('memory.pickle', 'rb')).get()), 'message')"
MAKE = "from llama_index.core.utils import get_tokenizer; get_tokenizer();"
closed = {name: "http://127.0.0.1:9" for name in ("HTTPS_PROXY", "https_proxy")}  # nothing leaves this machine


def loaded(first: str = "") -> str:
    run = [sys.executable, "-W", "ignore", "-c", f"import pickle; {first} {LOAD}"]
    done = subprocess.run(run, env={**os.environ, **closed}, capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


fresh, warm = loaded(), loaded(MAKE)
print(f"fresh process: {fresh[:120]}; after making a tokenizer: {warm}")
assert "ProxyError" in fresh and "openaipublic" in fresh
assert warm == "1 message"
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
