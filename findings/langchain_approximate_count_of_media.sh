#!/usr/bin/env bash
# Guess:     count_tokens_approximately takes a fixed number for audio, video and files, as it does for images.
# Really:    only images are fixed (85 tokens). Of the others it counts the characters of the base64 text, so one minute
#            of speech is a hundred thousand tokens and more. Reasoning counts in a content block and not in
#            additional_kwargs.
# Version:   langchain-core 1.8.3
# Date:      2026-11-29
# Seen:      {'image': 89, 'audio': 10019, 'video': 10019, 'file': 10020} for 40,000 characters each
#            reasoning: 140 in a block, 6 in additional_kwargs
# Matters:   SummarizationMiddleware and trim_messages drop the whole history after one audio clip. Pass
#            token_counter=llm.get_num_tokens_from_messages or the usage of the last answer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check langchain-core==1.8.3

cat > "$folder/run.py" <<'PYTHON'
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.utils import count_tokens_approximately

DATA = "A" * 40_000
KINDS = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4", "file": "application/pdf"}
counts = {
    kind: count_tokens_approximately([HumanMessage([{"type": kind, "base64": DATA, "mime_type": mime}])])
    for kind, mime in KINDS.items()
}
thought = "word " * 100
block = count_tokens_approximately([AIMessage([{"type": "reasoning", "reasoning": thought}])])
extra = count_tokens_approximately([AIMessage("", additional_kwargs={"reasoning_content": thought})])
print(counts, f"reasoning: {block} in a block, {extra} in additional_kwargs")
assert counts["image"] < 100
assert min(counts["audio"], counts["video"], counts["file"]) > 10_000
assert block > 100 > 10 > extra
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
