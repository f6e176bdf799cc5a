#!/usr/bin/env bash
# Guess:     a Context given to two runs of an agent keeps the conversation between them; max_iterations is each run's.
# Really:    the other way round. The memory is left out when the context is handed from one run to the next (workflows
#            counts the key "memory" as unserializable and warns), so the second request holds the second question
#            alone. max_iterations of a later run is ignored: the first run's value stays in the context, and an agent
#            told to stop after 2 steps goes on to the default 20. Only memory=, passed to each run, keeps the
#            conversation.
# Version:   llama-index-core 0.14.25, llama-index-workflows 2.26.1
# Date:      2026-11-29
# Seen:      same context:    [['My name is Ada.'], ['What is my name?']]
#            memory=:         [['My name is Ada.'], ['My name is Ada.', 'Hello.', 'What is my name?']]
#            max_iterations=2 in a second run: Max iterations of 20 reached
# Matters:   FunctionAgent and AgentWorkflow, with any model. The agent answers each turn as if it were the first, and a
#            limit on its cost has no effect; the warning is the only sign.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    llama-index-core==0.14.25 llama-index-workflows==2.26.1

cat > "$folder/run.py" <<'PYTHON'
import asyncio
import warnings

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.workflow import Context
from workflows.errors import WorkflowRuntimeError

requests: list[list[str]] = []


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


def talks(messages, **kwargs):
    requests.append([message.content for message in messages])
    return ChatMessage(role="assistant", blocks=[TextBlock(text="Hello.")])


def never_ends(messages, **kwargs):
    call = ToolCallBlock(tool_call_id="call_1", tool_name="weather", tool_kwargs={"city": "Rome"})
    return ChatMessage(role="assistant", blocks=[call])


def agent(model):
    llm = MockFunctionCallingLLM(response_generator=model)
    return FunctionAgent(name="guide", description="Talks.", tools=[weather], llm=llm, streaming=False)


async def main() -> None:
    for talker in (agent(talks), AgentWorkflow(agents=[agent(talks)])):
        requests.clear()
        context = Context(talker)
        await talker.run("My name is Ada.", ctx=context)
        with warnings.catch_warnings(record=True):
            await talker.run("What is my name?", ctx=context)
        print("same context:   ", requests)
        assert requests == [["My name is Ada."], ["What is my name?"]]

        requests.clear()
        memory = ChatMemoryBuffer.from_defaults(token_limit=1000, tokenizer_fn=str.split)
        await talker.run("My name is Ada.", memory=memory)
        await talker.run("What is my name?", memory=memory)
        print("memory=:        ", requests)
        assert requests[1] == ["My name is Ada.", "Hello.", "What is my name?"]

    context = Context(agent(talks))
    await agent(talks).run("Hello.", ctx=context)
    try:
        await agent(never_ends).run("Weather in Rome?", ctx=context, max_iterations=2)
    except WorkflowRuntimeError as error:
        reason = str(error).partition("!")[0]
    print("max_iterations=2 in a second run:", reason)
    assert reason == "Max iterations of 20 reached"


asyncio.run(main())
PYTHON

"$folder/env/bin/python" -W ignore "$folder/run.py"
