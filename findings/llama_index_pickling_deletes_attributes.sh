#!/usr/bin/env bash
# Guess:     pickle.dumps(component) leaves the component as it was, or fails where an attribute cannot be pickled.
# Really:    the attribute is deleted from the live object: BaseComponent.__getstate__ removes what it cannot pickle
#            from the very dict of the object and logs one warning. A second call on the same object then has no such
#            attribute.
# Version:   llama-index-core 0.14.25, pydantic 2.14.4
# Date:      2026-11-29
# Seen:      before: ['lock', 'name']; after: ['name']
# Matters:   IngestionPipeline(num_workers=2) and Dask pickle a model that is still in use, so a rate limiter or a
#            client on it is gone afterwards. The classes here pickle a copy.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25 pydantic==2.14.4

cat > "$folder/run.py" <<'PYTHON'
import pickle
import threading
from typing import Any

from llama_index.core.schema import BaseComponent


class Part(BaseComponent):
    name: str = "part"
    lock: Any = None


part = Part(lock=threading.Lock())
before = sorted(vars(part))
pickle.dumps(part)
after = sorted(vars(part))
print(f"before: {before}; after: {after}")
assert before == ["lock", "name"]
assert after == ["name"]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
