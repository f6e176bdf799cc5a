#!/usr/bin/env bash
# Guess:     a model with configurable_alternatives or configurable_fields stays configurable behind bind_tools and
#            with_structured_output, and in create_agent.
# Really:    bind_tools and with_structured_output are those of the default model, and what they return knows no
#            alternatives: config={"configurable": {"llm": "big"}} is accepted, and the default model answers. So an
#            agent obeys the choice until it has its first tool.
# Version:   langchain 1.5.2, langchain-core 1.8.3
# Date:      2026-11-30
# Seen:      asked for "big": invoke 'big', bind_tools 'small', with_structured_output 'small', agent 'big', agent with
#            a tool 'small'; temperature with bind_tools: 0.0 instead of 0.9
# Matters:   no error tells. Choose before binding, chosen.with_config(configurable=...).bind_tools(tools), or bind before
#            making it configurable: small.bind_tools(tools).configurable_alternatives(..., big=big.bind_tools(tools)).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    langchain==1.5.2 langchain-core==1.8.3

cat > "$folder/run.py" <<'PYTHON'
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool

answered: list[tuple[str, float]] = []


class Model(BaseChatModel):
    """Answers with a call of the class that it is asked for."""

    size: str
    temperature: float = 0.0
    _llm_type = "fake"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        answered.append((self.size, self.temperature))
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Hello."))])

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=tools, **kwargs)


@tool
def clock() -> str:
    """Return the time."""
    return "noon"


small, big = Model(size="small"), Model(size="big")
chosen = small.configurable_alternatives(ConfigurableField(id="llm"), default_key="small", big=big)
config = {"configurable": {"llm": "big", "heat": 0.9}}
question = {"messages": [("user", "Hi")]}
schema = {"title": "City", "description": "A city.", "type": "object", "properties": {}}
chosen.invoke("Hi", config)
chosen.bind_tools([clock]).invoke("Hi", config)
chosen.with_structured_output(schema).invoke("Hi", config)
create_agent(chosen).invoke(question, config)
create_agent(chosen, [clock]).invoke(question, config)
sizes = [size for size, _ in answered]
warm = small.configurable_fields(temperature=ConfigurableField(id="heat"))
answered.clear()
warm.invoke("Hi", config)
warm.bind_tools([clock]).invoke("Hi", config)
heats = [heat for _, heat in answered]
bound = small.bind_tools([clock])
answered.clear()
bound.configurable_alternatives(ConfigurableField(id="llm"), big=big.bind_tools([clock])).invoke("Hi", config)
print(f"invoke, bind_tools, with_structured_output, agent, agent with a tool: {sizes}")
chosen.with_config(config).bind_tools([clock]).invoke("Hi")
avoided = [size for size, _ in answered]
print(f"temperature: invoke {heats[0]}, bind_tools {heats[1]}; bound first, configured first: {avoided}")
assert sizes == ["big", "small", "small", "big", "small"]
assert heats == [0.9, 0.0]
assert avoided == ["big", "big"]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
