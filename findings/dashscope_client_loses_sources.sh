#!/usr/bin/env bash
# Guess:     get_final_message() of a stream has the sources of the web search, as a whole answer has them.
# Really:    search_info is that of the last event. The native protocol sends the sources in the first event and an
#            empty list afterwards, so the final message has none. The text of all events is joined.
# Version:   dashscope 2.0.2
# Date:      2026-11-29
# Seen:      chunks: [1, 0, 0] sources; final message: 'Rome.' with 0 sources
# Matters:   an answer with citations shows numbers without links. The packages here keep the last sources that are not
#            empty.
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


SITE = {"index": 1, "title": "Rome", "url": "https://example.com/rome", "site_name": "Example"}


def event(text: str, finish: str, sources: list[dict]) -> str:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    output = {"choices": [choice], "search_info": {"search_results": sources}}
    data = json.dumps({"output": output, "request_id": "1"})
    return f"id:1\nevent:result\n:HTTP_STATUS/200\ndata:{data}\n\n"


body = (event("Ro", "null", [SITE]) + event("me.", "null", []) + event("", "stop", [])).encode()


def stream():
    ask = [{"role": "user", "content": "Where is the Forum?"}]
    return client("native").chat.completions.create(
        model="qwen-plus", messages=ask, stream=True, enable_search=True, search_options={"enable_source": True}
    )


chunks = [len(chunk.search_info.search_results) for chunk in stream()]
final = stream().get_final_message()
text, sources = final.choices[0].message.content, final.search_info.search_results
print(f"chunks: {chunks} sources; final message: {text!r} with {len(sources)} sources")
assert chunks == [1, 0, 0]
assert (text, sources) == ("Rome.", [])
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
