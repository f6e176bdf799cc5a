#!/usr/bin/env bash
# Guess:     early_stopping_method="generate" lets the model write its last answer from what the tools have returned so
#            far, as its prompt says ("a final response ... based on the information gathered so far").
# Really:    the tools' results are not in that request. They live in the agent's scratchpad, which reaches the memory
#            only when a run ends by itself; the last request is made from the memory: the question, and a *system*
#            message at the end. The scratchpad stays in the context, so the next run on it sends these calls and
#            results behind a question that has nothing to do with them.
# Version:   llama-index-core 0.14.25, llama-index-workflows 2.26.1
# Date:      2026-11-29
# Seen:      final request: ['user', 'system']
#            next run:      ['user', 'assistant', 'tool', 'assistant'], "Thanks." before "It is sunny in Rome."
# Matters:   FunctionAgent and AgentWorkflow with max_iterations. The answer at the limit is invented, or says that
#            nothing was found, although the tools ran. The next run ends with a call that was never answered, which
#            OpenAI-like services refuse, and Model Studio documents system messages as the first ones only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    llama-index-core==0.14.25 llama-index-workflows==2.26.1

cat > "$folder/run.py" <<'PYTHON'
import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.workflow import Context

requests = []


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


def model(messages, **kwargs):
    requests.append(list(messages))
    if kwargs.get("tools") and len(requests) < 3:
        call = ToolCallBlock(tool_call_id=f"call_{len(requests)}", tool_name="weather", tool_kwargs={"city": "Rome"})
        return ChatMessage(role="assistant", blocks=[call])
    return ChatMessage(role="assistant", blocks=[TextBlock(text="I could not find out.")])


async def main() -> None:
    agent = FunctionAgent(tools=[weather], llm=MockFunctionCallingLLM(response_generator=model), streaming=False)
    context = Context(agent)
    await agent.run("Weather in Rome?", ctx=context, max_iterations=2, early_stopping_method="generate")
    assert "It is sunny in Rome." in [message.content for message in requests[1]]
    final = requests[2]
    print("final request:", [message.role.value for message in final])
    assert [message.role.value for message in final] == ["user", "system"]
    assert not any("sunny" in (message.content or "") for message in final)

    await agent.run("Thanks.", ctx=context)
    print("next run:     ", [message.role.value for message in requests[3]])
    assert [message.role.value for message in requests[3]] == ["user", "assistant", "tool", "assistant"]
    asked = [message.content for message in requests[3]].index("Thanks.")
    found = [message.content for message in requests[3]].index("It is sunny in Rome.")
    assert asked < found


asyncio.run(main())
PYTHON

"$folder/env/bin/python" -W ignore "$folder/run.py"
