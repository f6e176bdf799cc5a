#!/usr/bin/env bash
# Guess:     model.bind(seed=7).bind_tools([tool]) sends both the seed and the tool.
# Really:    the seed is gone. RunnableBinding has no bind_tools of its own: it hands out the method of the bare model,
#            which knows nothing of what was bound. with_structured_output loses it in the same way, and nothing warns.
#            bind after bind, and bind after bind_tools, keep both.
# Version:   langchain-core 1.8.3
# Date:      2026-11-29
# Seen:      bind, then bind_tools: ['tools']
#            bind_tools, then bind: ['seed', 'tools']
# Matters:   create_agent(model.bind(enable_thinking=False), tools) thinks all the same, with any chat model whose bind is
#            langchain-core's. ChatModelStudio.bind returns a binding that keeps what is bound.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check langchain-core==1.8.3

cat > "$folder/run.py" <<'PYTHON'
from typing import Any

from langchain_core.language_models import FakeListChatModel


class Model(FakeListChatModel):
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=tools, **kwargs)


model = Model(responses=["hello"])
tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
lost = sorted(model.bind(seed=7).bind_tools([tool]).kwargs)
kept = sorted(model.bind_tools([tool]).bind(seed=7).kwargs)
print(f"bind, then bind_tools: {lost}")
print(f"bind_tools, then bind: {kept}")
assert lost == ["tools"]
assert kept == ["seed", "tools"]
PYTHON

"$folder/env/bin/python" "$folder/run.py"
