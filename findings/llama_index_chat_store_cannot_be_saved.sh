#!/usr/bin/env bash
# Guess:     SimpleChatStore.persist saves a history of plain text, whatever version of pydantic 2 is installed.
# Really:    with pydantic 2.14 it raises for any message: the store's serializer passes the SerializationInfo on as a
#            second argument, which pydantic now takes for the index of an item. It worked with pydantic 2.12.
# Version:   llama-index-core 0.14.25, pydantic 2.14.4
# Date:      2026-11-29
# Seen:      persist: PydanticSerializationError ('index_key' is expected to be an integer or a string)
# Matters:   ChatMemoryBuffer.to_string and a chat engine that saves its store fail. Pin pydantic below 2.14, or store
#            message.model_dump_json() for each message, which works.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25 pydantic==2.14.4

cat > "$folder/run.py" <<'PYTHON'
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store import SimpleChatStore
from pydantic_core import PydanticSerializationError

message = ChatMessage(role="user", content="hello")
store = SimpleChatStore(store={"user": [message]})
try:
    store.persist("store.json")
except PydanticSerializationError as error:
    seen = str(error)
else:
    seen = "no error"
print(f"persist: {seen[:150]}")
assert "'index_key' is expected" in seen
assert ChatMessage.model_validate_json(message.model_dump_json()) == message
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
