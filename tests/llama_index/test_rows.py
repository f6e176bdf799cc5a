"""Rows of a comparison of LlamaIndex LLM classes. Each row has a test with its name.

I1 to I8: thoughts, calls and their arguments. I9 to I16: agents, choices and schemas of tools. I17 and I18: errors and
retries. I19 and I20: usage. I21 to I24: media. I25 to I28: settings. I29 and I30: structured output. I31: the caller's
history. I32: text is not escaped. I33: completions. I34: async. I35: which models support tools. I36: embeddings.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROWS = range(1, 37)


def test_each_row_has_a_test() -> None:
    """By the names of the functions."""
    named: set[int] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                named |= {int(number) for number in re.findall(r"_i(\d+)(?=_|$)", node.name)}
    assert named == set(ROWS)
