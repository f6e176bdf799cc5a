#!/usr/bin/env bash
# Guess:     Client(protocol="native") and Client(protocol="openai") send the same messages, each in its own format.
# Really:    with "openai", keys of a message that the SDK does not know are left out without a word. So partial=True,
#            which asks Model Studio to continue the last message, goes out with one protocol and not with the other.
# Version:   dashscope 2.0.2
# Date:      2026-11-29
# Seen:      native: {'role': 'assistant', 'content': 'In Rome', 'partial': True}; openai: {'role': 'assistant',
#            'content': 'In Rome'}
# Matters:   the model then answers anew instead of going on. The packages here send partial in both protocols; see
#            docs/vendor-sdk.md.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check dashscope==2.0.2

cat > "$folder/run.py" <<'PYTHON'
import http.server
import json
import threading

import dashscope

requests: list[dict] = []
body = b""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if body[:1] != b"{" else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()


def client(protocol: str) -> dashscope.Client:
    path = {"native": "/api/v1", "openai": "/compatible-mode/v1"}[protocol]
    url = f"http://127.0.0.1:{server.server_port}{path}"
    return dashscope.Client(api_key="none", base_url=url, protocol=protocol)


MESSAGES = [
    {"role": "user", "content": "Where is the Forum?"},
    {"role": "assistant", "content": "In Rome", "partial": True},
]
body = json.dumps(
    {
        "output": {"choices": [{"message": {"role": "assistant", "content": "."}, "finish_reason": "stop"}]},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "."}, "finish_reason": "stop"}],
        "request_id": "1",
    }
).encode()
for protocol in ("native", "openai"):
    client(protocol).chat.completions.create(model="qwen-plus", messages=MESSAGES)
native, openai = requests[0]["input"]["messages"][-1], requests[1]["messages"][-1]
print(f"native: {native}; openai: {openai}")
assert native == MESSAGES[-1]
assert openai == {"role": "assistant", "content": "In Rome"}
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
