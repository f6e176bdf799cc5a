"""Memory use of large files: uploading and downloading 200 MB takes almost no memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("resource") is None, reason="measures memory with the module resource"),
]
SIZE = 200 * 1024 * 1024
ROOM = 12 * 1024 * 1024
"""What a process may grow by. A file, or its base64, would be 200 MB or 267 MB."""

CHILD = """
import asyncio, json, resource, sys
from pathlib import Path
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage, VideoBlock
from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
url, small, large, out = sys.argv[1:]
settings = {"model": "qwen3-vl-plus", "base_url": url, "api_key": "sk-large-files", "upload": "always"}
chat, llm = ChatModelStudio(**settings), ModelStudio(**settings)
def run(job, path):
    human = HumanMessage([{"type": "video", "path": path}])
    if job == "chat": return chat.invoke([human])
    if job == "achat": return asyncio.run(llm.achat([ChatMessage(role="user", blocks=[VideoBlock(path=path)])]))
    if job == "upload": return chat.files.upload(path, purpose="batch")
    if job == "aupload": return asyncio.run(llm.files.aupload(path, purpose="batch"))
    id = "file-batch_output-" + ("small" if path == small else "large")
    if job == "content": return chat.files.content(id, to=out)
    return asyncio.run(llm.files.acontent(id, to=out))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
grown = {}
for job in ("chat", "achat", "upload", "aupload", "content", "acontent"):
    run(job, small)
    before = peak()
    run(job, large)
    grown[job] = peak() - before
print(json.dumps(grown))
"""


class Handler(BaseHTTPRequestHandler):
    """A service that counts the received bytes, and sends zeros."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        if "/content" in self.path:
            left = SIZE if "large" in self.path else 1000
            self.send_response(200)
            self.send_header("Content-Length", str(left))
            self.end_headers()
            while left:
                left -= self.wfile.write(bytes(min(left, 1024 * 1024)))
            return
        host = f"http://{self.headers['host']}/oss"
        named = dict.fromkeys(("policy", "signature", "upload_dir", "oss_access_key_id"), "x")
        self._answer({"data": {**named, "upload_host": host, "max_file_size_mb": 1000}})

    def do_POST(self) -> None:
        left = length = int(self.headers["content-length"])
        while left:
            left -= len(self.rfile.read(min(left, 1024 * 1024)))
        if "chat" not in self.path:
            cast(Server, self.server).received.append(length)
        said = {"index": 0, "message": {"role": "assistant", "content": "zeros"}, "finish_reason": "stop"}
        self._answer({"id": "file-batch-1", "choices": [said]})

    def _answer(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[int] = []


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_large_file_is_never_held_in_memory(server: Server, tmp_path: Path) -> None:
    """As media of a chat, in an upload, or in a download."""
    small, large, out = tmp_path / "small.mp4", tmp_path / "large.mp4", tmp_path / "out"
    small.write_bytes(b"\0\0\0\x18ftypmp42")
    with large.open("wb") as file:
        file.write(b"\0\0\0\x18ftypmp42")
        file.truncate(SIZE)
    url = f"http://127.0.0.1:{server.server_address[1]}/compatible-mode/v1"
    child = [sys.executable, "-c", CHILD, url, str(small), str(large), str(out)]
    done = subprocess.run(child, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout)
    assert len(grown) == 6
    assert max(grown.values()) < ROOM, grown
    assert out.stat().st_size == SIZE
    assert [size > SIZE for size in server.received] == [False, True] * 4
