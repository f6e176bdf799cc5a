#!/usr/bin/env bash
# Guess:     with incremental_output=False each event of the stream holds the answer as far as it had come.
# Really:    the service is told incremental_output=true all the same, and the SDK merges the fragments itself. The tool
#            calls of all events are one and the same object, so the events that a caller kept show, in the end, the
#            arguments of the last.
# Version:   dashscope 2.0.2
# Date:      2026-11-29
# Seen:      arguments while streaming: '{"city"', then '{"city": "Rome"}'; in the kept events afterwards: '{"city":
#            "Rome"}' twice
# Matters:   a program that keeps events to compare or to log them sees calls that had not been made yet. The packages
#            here build deltas from values of their own.
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


first = [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city"'}}]
second = [{"index": 0, "id": "", "type": "function", "function": {"arguments": ': "Rome"}'}}]
body = (
    event({"content": "", "tool_calls": first}, "null") + event({"content": "", "tool_calls": second}, "tool_calls")
).encode()
kept, live = [], []
for response in call(stream=True, incremental_output=False):
    kept.append(response.output.choices[0].message.tool_calls)
    live.append(kept[-1][0]["function"]["arguments"])
later = [calls[0]["function"]["arguments"] for calls in kept]
print(f"sent: {requests[0]['parameters']}; while streaming: {live}; in the kept events: {later}")
assert requests[0]["parameters"]["incremental_output"] is True
assert live == ['{"city"', '{"city": "Rome"}']
assert later == ['{"city": "Rome"}', '{"city": "Rome"}']
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
