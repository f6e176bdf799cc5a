#!/usr/bin/env bash
# Guess:     the "socket" of httpx's network_stream has shutdown(), on uvloop as on asyncio: uvloop is a drop-in
#            replacement, and asyncio's TransportSocket has it.
# Really:    on uvloop it is a PseudoSocket, whose shutdown() raises TypeError, although it has fileno(), family and type.
#            Code that suppresses OSError fails, and code that suppresses everything leaves the connection open, so that
#            httpx uses it again. socket.fromfd() of its fileno() can be shut down.
# Version:   uvloop 0.23.0, httpx 0.28.1
# Date:      2026-11-29
# Seen:      asyncio: shut down, not used again; uvloop: TypeError, used again
# Matters:   who wants to end a connection that must not be used again, without closing it under a reader. The pool here
#            shuts down a copy.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0 httpx==0.28.1

cat > "$folder/run.py" <<'PYTHON'
import asyncio
import http.server
import socket
import threading

import httpx
import uvloop


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()


async def shut_down() -> tuple[str, bool]:
    """What shutdown() says, and whether the next request uses the same connection."""
    ports = []
    async with httpx.AsyncClient() as client:
        for number in range(2):
            async with client.stream("GET", f"http://127.0.0.1:{server.server_port}") as response:
                stream = response.extensions["network_stream"]
                ports.append(stream.get_extra_info("client_addr")[1])
                await response.aread()
                if number == 0:
                    connection = stream.get_extra_info("socket")
                    try:
                        connection.shutdown(socket.SHUT_RDWR)
                        said = "shut down"
                    except Exception as error:
                        said = f"{type(error).__name__}: {error}"
                    assert connection.fileno() >= 0 and connection.family == socket.AF_INET
    return said, ports[0] == ports[1]


with_asyncio, with_uvloop = asyncio.run(shut_down()), uvloop.run(shut_down())
print(f"asyncio: {with_asyncio}; uvloop: {with_uvloop}")
assert with_asyncio == ("shut down", False)
assert with_uvloop[0].startswith("TypeError") and with_uvloop[1]
PYTHON

cd "$folder"
env/bin/python run.py
