#!/usr/bin/env bash
# Guess:     InMemoryRateLimiter lets the first request through at once, since nothing was sent yet; LlamaIndex's does.
# Really:    the bucket starts empty: the first call waits for a whole token, 1/requests_per_second, whatever
#            max_bucket_size is.
# Version:   langchain-core 1.8.3
# Date:      2026-11-29
# Seen:      first call waited 0.5 s at 2 requests a second with room for 10
# Matters:   at one request a minute a process waits a minute before its first call.
#            ChatModelStudio(requests_per_minute=...) starts full.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check langchain-core==1.8.3

cat > "$folder/run.py" <<'PYTHON'
import time

from langchain_core.rate_limiters import InMemoryRateLimiter

limiter = InMemoryRateLimiter(requests_per_second=2, check_every_n_seconds=0.01, max_bucket_size=10)
start = time.monotonic()
limiter.acquire()
waited = time.monotonic() - start
print(f"first call waited {waited:.1f} s at 2 requests a second with room for 10")
assert waited > 0.4
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
