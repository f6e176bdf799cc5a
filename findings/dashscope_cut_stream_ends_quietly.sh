#!/usr/bin/env bash
# Guess:     a stream whose body ends before any finish reason raises, or yields a response that says so.
# Really:    the loop just ends. Each response has status 200, no code and no message; only finish_reason 'null' on the
#            last one tells. An event of several data lines, which the standard on server-sent events joins, becomes one
#            response with status 400 for each line.
# Version:   dashscope 2.0.2
# Date:      2026-11-29
# Seen:      cut: [(200, 'Hel', 'null'), (200, 'lo', 'null')]; one event of 11 data lines: 11 responses, {400}
# Matters:   a proxy that closes a long stream yields half an answer that looks whole. StreamTruncatedError says so
#            here.
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
dashscope.base_http_api_url = f"http://127.0.0.1:{server.server_port}/api/v1"
QUESTION = [{"role": "user", "content": "hello"}]


def event(message: dict, finish: str) -> str:
    output = {"choices": [{"message": {"role": "assistant", **message}, "finish_reason": finish}]}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    data = json.dumps({"output": output, "usage": usage, "request_id": "1"})
    return f"id:1\nevent:result\n:HTTP_STATUS/200\ndata:{data}\n\n"


def call(**arguments: object):
    defaults = {"model": "qwen-plus", "api_key": "none", "messages": QUESTION, "result_format": "message"}
    return dashscope.Generation.call(**{**defaults, **arguments})


body = (event({"content": "Hel"}, "null") + event({"content": "lo"}, "null")).encode()
cut = [
    (int(response.status_code), response.output.choices[0].message.content, response.output.choices[0].finish_reason)
    for response in call(stream=True, incremental_output=True)
]
lines = json.dumps(json.loads(event({"content": "hello"}, "stop").split("data:")[1])["output"], indent=1).split("\n")
body = ("\n".join(f"data:{line}" for line in lines) + "\n\n").encode()
parted = [int(response.status_code) for response in call(stream=True, incremental_output=True)]
print(f"cut: {cut}; one event of {len(lines)} data lines: {len(parted)} responses, {set(parted)}")
assert cut == [(200, "Hel", "null"), (200, "lo", "null")]
assert parted == [400] * len(lines)
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
