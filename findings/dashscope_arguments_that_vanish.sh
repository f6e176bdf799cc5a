#!/usr/bin/env bash
# Guess:     Generation.call(timeout=5) waits five seconds at most, and prompt= or history= beside messages= is refused.
# Really:    timeout is a parameter of the model to the SDK and goes into the body, so the call still waits the default
#            of five minutes; a misspelt name goes the same way. With prompt= and history=, the messages are not sent at
#            all.
# Version:   dashscope 2.0.2
# Date:      2026-11-29
# Seen:      parameters sent: ['max_retries', 'result_format', 'temprature', 'timeout']; input sent: ['history',
#            'prompt']
# Matters:   no error tells of either. ChatModelStudio and ModelStudio take timeout= in seconds and refuse names they do
#            not know.
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


body = json.dumps({"output": {"choices": []}, "request_id": "1"}).encode()
call(timeout=5, max_retries=3, temprature=0.1)
call(prompt="one", history=[{"user": "a", "bot": "b"}])
sent, inputs = sorted(requests[0]["parameters"]), sorted(requests[1]["input"])
print(f"parameters sent: {sent}; input sent: {inputs}")
assert sent == ["max_retries", "result_format", "temprature", "timeout"]
assert inputs == ["history", "prompt"]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
