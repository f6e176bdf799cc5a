"""A conversation stored by the server continues after a restart: the checkpoint has the last response ID."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.loopback import Loopback, reply_json
from tests.responses import RESPONSE_ID
from tests.service import Answer, Call

ROOT = Path(__file__).parents[2]
LOST = {"code": "InvalidParameter", "message": f"Previous response {RESPONSE_ID} not found or expired"}
# one turn in a process of its own
PROGRAM = """
import logging, sys
from langchain.agents import create_agent
from langgraph.checkpoint.sqlite import SqliteSaver
from langchain_modelstudio import ChatModelStudio

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
url, path, question = sys.argv[1:]

def weather(city: str) -> str:
    '''Tell the weather in a city.'''
    return f"It is sunny in {city}."

llm = ChatModelStudio(model="qwen-plus", base_url=url, protocol="responses", use_previous_response_id=True)
with SqliteSaver.from_conn_string(path) as saver:
    agent = create_agent(llm, [weather, {"type": "web_search"}], checkpointer=saver, system_prompt="Be brief.")
    state = agent.invoke({"messages": [("user", question)]}, {"configurable": {"thread_id": "1"}})
print(state["messages"][-1].text)
"""


def ask(server: Loopback, path: Path, question: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", PROGRAM, server.url, str(path), question]
    return subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT)


def kinds(body: dict[str, Any]) -> list[str]:
    return [item.get("type", item.get("role")) for item in body["input"]]


def test_an_agent_continues_after_a_restart(tmp_path: Path) -> None:
    """A new process sends only the new question. If the response was deleted, it sends the whole history."""
    called = Answer(calls=[Call("call_1", "weather", ['{"city": "Rome"}'])])
    script = [
        called, Answer(text=["sunny"]), Answer(text=["still sunny"]), reply_json(400, LOST), Answer(text=["rain"])
    ]  # fmt: skip
    with Loopback(script) as server:
        said = [ask(server, tmp_path / "state.sqlite", text) for text in ("What is the weather?", "And now?", "Now?")]
        bodies = [request.json() for request in server.requests]
    assert [each.stdout.strip() for each in said] == ["sunny", "still sunny", "rain"]
    assert [body.get("previous_response_id") for body in bodies] == [None, *[RESPONSE_ID] * 3, None]
    assert [kinds(body) for body in bodies[:4]] == [["user"], ["function_call_output"], ["user"], ["user"]]
    assert kinds(bodies[4]) == [
        "user", "function_call", "function_call_output", "message", "user", "message", "user"
    ]  # fmt: skip
    assert {body["instructions"] for body in bodies} == {"Be brief."}
    told = [line for line in said[2].stderr.splitlines() if "whole history" in line]
    assert len(told) == 1
    assert told[0].startswith(logging.getLevelName(logging.INFO))
