#!/usr/bin/env bash
# Guess:     match_on=['body'] tells {"enable_thinking": true} from {"enable_thinking": 1}, and
#            filter_post_data_parameters removes a name wherever it stands.
# Really:    JSON bodies are compared as Python values, where True == 1 == 1.0, so all three match (the order of the
#            keys does not matter either). The filter looks at the top level only: a name inside another object stays in
#            the cassette.
# Version:   vcrpy 9.4.2, httpx 0.28.1
# Date:      2026-11-29
# Seen:      match: {'True': True, '1.0': True, "'1'": False}; recorded: {'metadata': {'user': 'b'}}
# Matters:   a test on a cassette does not notice a setting that is sent with the wrong type, and a secret in a nested
#            object is committed. Compare the request's body itself; remove secrets in before_record_request.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check vcrpy==9.4.2 httpx==0.28.1

cat > "$folder/run.py" <<'PYTHON'
import http.server
import json
import threading
import time

import httpx
import vcr

PAUSE = 0.3


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for _ in range(3):
            self.wfile.write(b"9\r\ndata: a\n\n\r\n")
            time.sleep(PAUSE)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}/"


PAUSE = 0
with vcr.use_cassette("body.yaml", record_mode="all", filter_post_data_parameters=["user"]) as cassette:
    httpx.post(URL, json={"user": "a", "metadata": {"user": "b"}})
    recorded = json.loads(cassette.requests[0].body)
with vcr.use_cassette("types.yaml", record_mode="all"):
    httpx.post(URL, json={"x": 1})


def matches(value: object) -> bool:
    with vcr.use_cassette("types.yaml", record_mode="none", match_on=["method", "uri", "body"]):
        try:
            httpx.post(URL, json={"x": value})
        except vcr.errors.CannotOverwriteExistingCassetteException:
            return False
    return True


found = {repr(value): matches(value) for value in (True, 1.0, "1")}
print(f"match: {found}; recorded: {recorded}")
assert found == {"True": True, "1.0": True, "'1'": False}
assert recorded == {"metadata": {"user": "b"}}
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
