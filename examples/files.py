"""Store a document, ask about it, and send a video of any size: with the Files API and temporary uploads.

Run it with a key in DASHSCOPE_API_KEY:            python examples/files.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/files.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from langchain_core.messages import HumanMessage, SystemMessage

from langchain_modelstudio import ChatModelStudio

DOCUMENT = Path(__file__).with_name("data") / "texts" / "lighthouse.txt"
QUESTION = "What is this document about? Answer in one sentence."
VIDEO_BYTES = 8 * 1024 * 1024
"""Above 7 MiB a video is too large for a request, so it is uploaded."""


def about_a_document(llm: ChatModelStudio, path: Path) -> str:
    """Store a document, ask a question about it, and delete it. Return the answer."""
    file = llm.files.upload(path)  # waits until the service has parsed it
    print(f"{file.filename}: {file.bytes} bytes, {file.status}, {file.id}")
    try:
        messages = [SystemMessage("You are brief."), llm.files.system_message(file), HumanMessage(QUESTION)]
        return str(llm.invoke(messages).text)
    finally:
        llm.files.delete(file.id)


def about_a_video(llm: ChatModelStudio, path: Path) -> str:
    """Ask about a local video. Return the answer."""
    video = {"type": "video", "path": str(path)}
    return str(llm.invoke([HumanMessage([{"type": "text", "text": "What is this?"}, video])]).text)


def main() -> None:
    """Ask about a document, then about a large video."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"A document, stored with the Files API\n\nQuestion: {QUESTION}")
        print(about_a_document(ChatModelStudio(model="qwen-long"), DOCUMENT))
        print("\nA video, uploaded to the temporary store\n")
        path = Path(os.environ.get("VIDEO") or Path(folder) / "zeros.mp4")
        if not path.exists():  # without a video of yours: a file that only its header makes one
            path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(VIDEO_BYTES))
        print(f"Question: What is {path.name}? ({path.stat().st_size} bytes)")
        print(about_a_video(ChatModelStudio(model="qwen3-vl-plus"), path))


if __name__ == "__main__":
    main()
