#!/usr/bin/env bash
# Guess:     model.with_retry(stop_after_attempt=3).stream(...) tries again where the first attempt fails before any
#            chunk.
# Really:    stream is tried once: RunnableRetry has invoke and batch of its own, and stream is handed to the bound
#            model as it is.
# Version:   langchain-core 1.8.3
# Date:      2026-11-29
# Seen:      attempts: invoke 3, stream 1
# Matters:   an agent or a server that streams has no retries but the model's own. ChatModelStudio retries streams
#            itself (max_retries) until the first part of an answer has arrived.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check langchain-core==1.8.3

cat > "$folder/run.py" <<'PYTHON'
from langchain_core.language_models import FakeListChatModel

attempts = []


class Failing(FakeListChatModel):
    def _generate(self, *args, **kwargs):
        attempts.append("invoke")
        raise ConnectionError("refused")

    def _stream(self, *args, **kwargs):
        attempts.append("stream")
        raise ConnectionError("refused")
        yield


model = Failing(responses=["hello"]).with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
for call in (model.invoke, lambda text: list(model.stream(text))):
    try:
        call("hello")
    except ConnectionError:
        pass
print(f"attempts: invoke {attempts.count('invoke')}, stream {attempts.count('stream')}")
assert attempts == ["invoke"] * 3 + ["stream"]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
