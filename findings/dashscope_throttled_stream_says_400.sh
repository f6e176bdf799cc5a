#!/usr/bin/env bash
# Guess:     an error event in a stream that states :HTTP_STATUS/429 gives a response with status_code 429.
# Really:    status_code is 400: the SDK reads the code and the message from the event and not the status line, so being
#            throttled in mid-stream looks like a bad request. Nothing is raised; the loop goes on with a response that
#            has no output.
# Version:   dashscope 2.0.2
# Date:      2026-11-29
# Seen:      [(200, '', 'Hel'), (400, 'Throttling', None)]
# Matters:   code that retries by status_code gives up on what it should try again. RateLimitError with status_code 429
#            comes out here.
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


error = json.dumps({"code": "Throttling", "message": "Requests throttled.", "request_id": "1"})
body = (event({"content": "Hel"}, "null") + f"id:2\nevent:error\n:HTTP_STATUS/429\ndata:{error}\n\n").encode()
seen = [
    (int(response.status_code), response.code, response.output and response.output.choices[0].message.content)
    for response in call(stream=True, incremental_output=True)
]
print(seen)
assert seen == [(200, "", "Hel"), (400, "Throttling", None)]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
