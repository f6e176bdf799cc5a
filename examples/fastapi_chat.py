"""Serve a chat with FastAPI: server-sent events, and a page that shows the thinking and the answer as they stream.

Needs `pip install fastapi uvicorn`; then open http://127.0.0.1:8080.

Run it with a key in DASHSCOPE_API_KEY:            python examples/fastapi_chat.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/fastapi_chat.py
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import ModelStudioError

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Chat</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 45rem; margin: 2rem auto; padding: 0 1rem; }
  form { display: flex; gap: .5rem; }
  input { flex: 1; font: inherit; padding: .5rem; }
  button { font: inherit; padding: .5rem 1rem; }
  #thinking { color: #666; font-style: italic; white-space: pre-wrap; }
  #answer { white-space: pre-wrap; }
  #status { color: #666; font-size: .875rem; }
</style>
<h1>Chat</h1>
<form><input name="question" aria-label="Question" autofocus><button>Ask</button></form>
<p id="thinking"></p>
<p id="answer"></p>
<p id="status" role="status"></p>
<script>
  const [thinking, answer, status] = ["thinking", "answer", "status"].map((id) => document.getElementById(id));
  let source;
  document.forms[0].addEventListener("submit", (event) => {
    event.preventDefault();
    source?.close();  // the service stops the answer, too
    thinking.textContent = answer.textContent = "";
    status.textContent = "...";
    const question = new FormData(event.target).get("question");
    source = new EventSource("/chat?" + new URLSearchParams({ question }));
    source.addEventListener("thinking", (event) => { thinking.textContent += JSON.parse(event.data); });
    source.addEventListener("answer", (event) => { answer.textContent += JSON.parse(event.data); });
    for (const name of ["end", "failed"])
      source.addEventListener(name, (event) => { status.textContent = JSON.parse(event.data); source.close(); });
    source.onerror = () => { status.textContent = "The connection was lost."; source.close(); };
  });
</script>
</html>
"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one model object for all requests, which share its connections, until the service ends."""
    async with ChatModelStudio(model="qwen-plus", enable_thinking=True, thinking_budget=512, max_tokens=512) as llm:
        app.state.llm = llm
        yield


app = FastAPI(title="Chat", lifespan=lifespan)


def event(name: str, text: str) -> str:
    """Return a server-sent event. JSON keeps line breaks out of its data line."""
    return f"event: {name}\ndata: {json.dumps(text)}\n\n"


async def events(llm: ChatModelStudio, question: str) -> AsyncIterator[str]:
    """Yield the events of an answer. When the browser leaves, this generator is closed, and so is the call."""
    try:
        tokens = 0
        async for chunk in llm.astream(question):
            if thinking := chunk.additional_kwargs.get("reasoning_content"):
                yield event("thinking", thinking)
            if chunk.text:
                yield event("answer", chunk.text)
            tokens += chunk.usage_metadata["total_tokens"] if chunk.usage_metadata else 0
        yield event("end", f"{tokens} tokens")
    except ModelStudioError as error:  # the status 200 has been sent, so the error is an event
        yield event("failed", f"{type(error).__name__}: {error.message}")


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    """Return the page."""
    return PAGE


@app.get("/chat")
async def chat(request: Request, question: str = Query(min_length=1, max_length=4000)) -> StreamingResponse:
    """Stream the answer to a question."""
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # proxies must not collect the events
    return StreamingResponse(events(request.app.state.llm, question), media_type="text/event-stream", headers=headers)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=8080)
