"""Store a document, ask about it, and send a video of any size: with the Files API and temporary uploads.

python -m examples.files
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from langchain_core.messages import HumanMessage, SystemMessage

from examples.place import a_place, console
from examples.terminal import print_question, title
from langchain_modelstudio import ChatModelStudio

DOCUMENT = Path(__file__).with_name("data") / "texts" / "lighthouse.txt"
QUESTION = "What is this document about? Answer in one sentence."
VIDEO_BYTES = 8 * 1024 * 1024
"""Above 7 MiB a video is too large for a request, so it is uploaded."""


def about_a_document(llm: ChatModelStudio, path: Path) -> str:
    """Store a document, ask a question about it, and delete it. Return the answer."""
    file = llm.files.upload(path)  # waits until the service has parsed it
    console.print(f"{file.filename}: {file.bytes} bytes, {file.status}, {file.id}", markup=False)
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
    with a_place() as place, tempfile.TemporaryDirectory() as folder:
        title("A document, stored with the Files API")
        print_question(QUESTION)
        with ChatModelStudio(**{**place, "model": "qwen-long"}) as llm:
            console.print(about_a_document(llm, DOCUMENT), markup=False)
        title("A video, uploaded to the temporary store")
        path = Path(os.environ.get("VIDEO") or Path(folder) / "zeros.mp4")
        if not path.exists():  # without a video of yours: a file that only its header makes one
            path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(VIDEO_BYTES))
        print_question(f"What is {path.name}? ({path.stat().st_size} bytes)")
        with ChatModelStudio(**{**place, "model": "qwen3-vl-plus"}) as llm:
            console.print(about_a_video(llm, path), markup=False)


if __name__ == "__main__":
    main()
