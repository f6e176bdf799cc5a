#!/usr/bin/env bash
# Guess:     two asyncio tasks that each open a cassette of their own record their own requests.
# Really:    a cassette is in force for the whole process. While both are open, the one opened last gets the requests
#            of both; as soon as one is closed, the rest of the other's requests go to the network and into no
#            cassette, with record_mode="none", too.
# Version:   vcrpy 9.4.2, httpx 0.28.1
# Date:      2026-11-30
# Seen:      x.yaml: ['x1']; y.yaml: ['y1', 'x2']; y2 is in neither
# Matters:   tests that run side by side in a process, and batches of prompts with a cassette each: answers are missing
#            or in a wrong file, and a replay calls the service. Open one cassette around all tasks.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check vcrpy==9.4.2 httpx==0.28.1

cat > "$folder/run.py" <<'PYTHON'
import asyncio
import http.server
import threading
from pathlib import Path

import httpx
import vcr
import yaml

arrived: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        arrived.append(self.rfile.read(int(self.headers["content-length"])).decode())
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None:
        pass


async def ask(url: str, name: str, record_mode: str, entered: asyncio.Event, go_on: asyncio.Event) -> None:
    with vcr.use_cassette(f"{name}.yaml", record_mode=record_mode):
        async with httpx.AsyncClient() as client:
            await client.post(url, content=f"{name}1")
            entered.set()
            await go_on.wait()
            await client.post(url, content=f"{name}2")


async def both(url: str) -> None:
    """Open x, then y, ask for x2, close x, and ask for y2."""
    first, second, release = asyncio.Event(), asyncio.Event(), asyncio.Event()
    x = asyncio.create_task(ask(url, "x", "once", first, second))
    await first.wait()
    y = asyncio.create_task(ask(url, "y", "once", second, release))
    await x
    release.set()
    await y


async def replay(url: str) -> None:
    """Open x, then a second cassette for replay only, close x, and ask for y2."""
    first, second, release = asyncio.Event(), asyncio.Event(), asyncio.Event()
    x = asyncio.create_task(ask(url, "x", "new_episodes", first, second))
    await first.wait()
    y = asyncio.create_task(ask(url, "y", "none", second, release))
    await x
    release.set()
    await y


def bodies(name: str) -> list[str]:
    text = Path(f"{name}.yaml").read_text(encoding="utf-8")
    return [interaction["request"]["body"] for interaction in yaml.safe_load(text)["interactions"]]


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"
asyncio.run(both(url))
recorded = {name: bodies(name) for name in "xy"}
print(f"x.yaml: {recorded['x']}; y.yaml: {recorded['y']}; arrived: {arrived}")
assert recorded == {"x": ["x1"], "y": ["y1", "x2"]}
assert arrived == ["x1", "y1", "x2", "y2"]
arrived.clear()
asyncio.run(replay(url))
print(f"replay only: arrived {arrived}")
assert arrived == ["y2"]
server.shutdown()
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
