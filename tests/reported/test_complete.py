"""Every report from downstream software has a test, marked `@pytest.mark.report(n)`."""

from __future__ import annotations

import ast
from pathlib import Path

HERE = Path(__file__).parent
REPORTS = set(range(1, 34)) | {35, 36}  # 34 is documentation


def reports_in(path: Path) -> set[int]:
    """Return the report numbers of the markers in a file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "report":
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return found


def test_every_report_has_a_test() -> None:
    """No number is missing."""
    covered = set().union(*map(reports_in, HERE.glob("test_*.py")))
    assert REPORTS - covered == set()
