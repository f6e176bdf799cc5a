#!/usr/bin/env bash
# Guess:     client.map(llm.complete, prompts) works on Dask, since the LLM object can be pickled.
# Really:    no method that LlamaIndex traces can be pickled, of LLMs and embeddings alike: each is wrapped in an object
#            proxy of wrapt, which refuses. cloudpickle, which Dask and Ray fall back on, refuses as well.
# Version:   llama-index-core 0.14.25, cloudpickle 3.1.3
# Date:      2026-11-29
# Seen:      the objects: pickled
#            complete, pickle: object proxy must define __reduce__()
#            complete, cloudpickle: object proxy must define __reduce__()
#            get_text_embedding, pickle: object proxy must define __reduce__()
#            get_text_embedding, cloudpickle: object proxy must define __reduce__()
# Matters:   distributed says "TokenizationError: ... cannot be deterministically hashed", which does not name the cause.
#            Hand the object to a function of your own: def complete(llm, prompt): return llm.complete(prompt). The
#            methods of ModelStudio and ModelStudioEmbedding are plain functions around the wrapped ones.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25 cloudpickle==3.1.3

cat > "$folder/run.py" <<'PYTHON'
import pickle

import cloudpickle
from llama_index.core import MockEmbedding
from llama_index.core.llms import MockLLM

llm, embedding = MockLLM(), MockEmbedding(embed_dim=2)
pickle.dumps([llm, embedding])
print("the objects: pickled")
refused = 0
for name, method in (("complete", llm.complete), ("get_text_embedding", embedding.get_text_embedding)):
    for module in (pickle, cloudpickle):
        try:
            module.dumps(method)
        except NotImplementedError as error:
            refused += 1
            print(f"{name}, {module.__name__}: {error}")
assert refused == 4
PYTHON

"$folder/env/bin/python" "$folder/run.py"
