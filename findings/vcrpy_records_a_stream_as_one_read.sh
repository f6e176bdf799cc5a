#!/usr/bin/env bash
# Guess:     while a cassette records, a streamed response still arrives piece by piece, and it is replayed in the same
#            pieces.
# Really:    vcrpy reads the whole body before httpx gets the head: three events, 0.3 s apart, all arrive after 0.9 s in
#            one read, and so they do on replay. A stream that the caller leaves early is recorded to its end. On replay
#            the response has no http_version and no network_stream.
# Version:   vcrpy 9.4.2, httpx 0.28.1
# Date:      2026-11-29
# Seen:      head after 0.9 s; reads: recorded 1, replayed 1; extensions on replay: ['reason_phrase']
# Matters:   a test on a cassette cannot see a stream that is delivered late or never closed. The tests here use a
#            server on loopback for that.
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


reads, heads = [], []
for mode in ("all", "none"):
    with vcr.use_cassette("stream.yaml", record_mode=mode), httpx.Client() as client:
        start = time.monotonic()
        with client.stream("POST", URL, json={}) as response:
            heads.append(time.monotonic() - start)
            reads.append(len(list(response.iter_raw())))
            extensions = sorted(response.extensions)
print(f"head after {heads[0]:.1f} s; reads: recorded {reads[0]}, replayed {reads[1]}; extensions on replay: {extensions}")
assert heads[0] > 2 * PAUSE
assert reads == [1, 1]
assert extensions == ["reason_phrase"]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
