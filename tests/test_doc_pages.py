"""Every Python snippet of the README and the documentation runs as printed, except those that name what they need."""

from __future__ import annotations

import ast
import asyncio
import gc
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_index_instrumentation import get_dispatcher

import langchain_modelstudio
import llama_index_modelstudio
from local_model.options import Options, parser
from tests.loopback import sse
from tests.snippets import CITY, MARKED, ROOT, TEXT, THOUGHT, answer, markers, run, snippets

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
# their tests look at what is sent, too
ELSEWHERE = {
    "README.md": "test_readme.py",
    "docs/batch.md": "test_batch_page.py",
    "docs/built-in-tools.md": "test_responses_pages.py",
    "docs/files.md": "test_files_page.py",
    "docs/migrating-openai.md": "test_migrating.py",
    "docs/migrating-qwen.md": "test_migrating.py",
    "docs/migrating-tongyi.md": "test_migrating.py",
    "docs/migrating.md": "test_migrating.py",
    "docs/performance.md": "test_performance_page.py",
    "docs/protocols.md": "test_responses_pages.py",
    "docs/rag-langchain.md": "langchain/test_rag_page.py",
    "docs/rag-llama-index.md": "llama_index/test_rag_page.py",
    "docs/scaling.md": "workers/test_scaling_page.py",
    "docs/structured-output.md": "test_structured_output_page.py",
    "docs/tokens-and-cost.md": "test_tokens_page.py",
}
HERE = [
    pytest.param(page, snippet, id=f"{Path(page).stem}-{number}")
    for page in PAGES
    if page not in ELSEWHERE
    for number, snippet in enumerate(snippets(page, marked=False))
]
LONG = {"docs/faults.md"}  # an appendix
OFFLINE = {"models", "testing"}  # these snippets call no service


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # LlamaIndex's workflows
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211")
@pytest.mark.filterwarnings(
    "ignore:.*Connection.__del__:pytest.PytestUnraisableExceptionWarning"
)  # LlamaIndex's Memory
@pytest.mark.parametrize(("page", "snippet"), HERE)
def test_a_snippet_runs(
    page: str, snippet: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A snippet runs to its end, calls the service, and prints something."""
    asyncio.set_event_loop(None)  # otherwise LlamaIndex makes one that it does not close
    monkeypatch.setattr(get_dispatcher(), "event_handlers", [])  # snippets add some
    monkeypatch.chdir(tmp_path)
    for name in ("birds.mp4", "photo.png", "question.wav", "report.pdf"):
        Path(name).write_bytes(b"\0\0\0\x18ftypmp42")
    requests = run(snippet, page, monkeypatch)
    assert requests or Path(page).stem in OFFLINE
    assert capsys.readouterr().out.strip()
    if "Memory" in snippet or "chat_engine" in snippet:
        monkeypatch.undo()
        gc.collect()  # the warning above belongs to this test


def test_an_agent_goes_on_after_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As docs/langgraph.md says: the question is sent once, and asked again with None."""
    [snippet] = [code for code in snippets("docs/langgraph.md") if "is_retryable" in code]
    truncated = sse({"id": "1", "choices": [{"index": 0, "delta": {"content": "Scat"}}]}, done=False)
    streaming = snippet.replace("(model=", "(streaming=True, model=")
    requests = run(streaming, "docs/langgraph.md", monkeypatch, [truncated, answer])
    assert [len(request.json()["messages"]) for request in requests] == [1, 1]
    assert TEXT in capsys.readouterr().out


def test_the_agent_shows_calls_and_results(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of docs/tools-and-agents.md: a result is not printed as if the model had said it."""
    [snippet] = [code for code in snippets("docs/tools-and-agents.md") if "AIMessageChunk" in code]
    run(snippet, "docs/tools-and-agents.md", monkeypatch)
    assert capsys.readouterr().out.splitlines() == [
        THOUGHT,
        f"call: weather({{'city': '{CITY}'}})",
        f"result: It is sunny in {CITY}.",
        THOUGHT + TEXT,
    ]


def test_the_throttled_snippet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints what a user's code would see."""
    [snippet] = [code for code in snippets("docs/testing.md") if "429" in code]
    assert run(snippet, "docs/testing.md", monkeypatch) == []
    assert capsys.readouterr().out == "limit_requests 7.0\n"


def test_the_options_of_the_local_model() -> None:
    """The page names those that a user of the README meets, with their defaults."""
    text = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(--[\w-]+)` \| (.*) \|$", text, re.MULTILINE)
    known = {option for action in parser()._actions for option in action.option_strings}
    assert {"--force-auto", "--port", "--api-key", "--models"} <= {name for name, _ in rows} <= known
    for name, value in (("--max-tokens", Options().max_tokens), ("--budget", Options().budget)):
        assert f", {value} by default" in dict(rows)[name]


@pytest.mark.slow
@pytest.mark.local_model
def test_the_local_model_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """The snippet that starts a local model runs as printed."""
    [snippet] = [code for code in snippets("docs/testing.md") if "local_model" in code]
    exec(compile(snippet, "docs/testing.md", "exec"), {"__name__": "snippet"})
    assert capsys.readouterr().out.strip()


def test_the_pages_of_other_tests() -> None:
    """Each named test reads the page that it is named for."""
    for page, test in ELSEWHERE.items():
        assert page in (ROOT / "tests" / test).read_text(encoding="utf-8"), test


def test_what_is_not_run_says_why() -> None:
    """A mark names a package, a service or a key, and stands before a snippet."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert len(MARKED.findall(text)) == len(markers(page)) == text.count("<!-- needs "), page


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_read_in_minutes(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert len(text.split()) <= 1500 or page in LONG


def test_the_readme_is_read_in_four_minutes() -> None:
    """Without code and tables, at 200 words a minute."""
    text = re.sub(r"```.*?```|^\|.*$|^    .*$", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S | re.M)
    assert len(text.split()) <= 800


CODE_BLOCK = re.compile(r"\.\. code-block:: python\n\n((?:[ ]+.*\n|\n)+)")


def shown_code() -> Iterator[tuple[str, str]]:
    """Yield the file and the code of all snippets of pages and docstrings, and of all examples."""
    for page in PAGES:
        yield from ((page, code) for code in snippets(page))
    for package in (langchain_modelstudio, llama_index_modelstudio):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                    text = f"{ast.get_docstring(node)}\n"
                    yield from ((path.name, textwrap.dedent(code)) for code in CODE_BLOCK.findall(text))
    for path in sorted((ROOT / "examples").glob("*.py")):
        yield path.name, path.read_text(encoding="utf-8")


def test_what_streams_is_seen_at_once() -> None:
    """A terminal shows a line when it ends, so a print that ends no line has `flush=True`."""
    files = set()
    for file, code in shown_code():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if "\\n" not in options.get("end", "\\n"):
                    files.add(file)
                    assert options.get("flush") == "True", f"{file}: {ast.unparse(node)}"
    assert {"README.md", "docs/thinking.md", "chat_models.py", "llm.py", "agent.py"} <= files


LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def test_the_links_of_pages_outside_of_the_site() -> None:
    """Each relative link leads to a file. `make docs` checks those of the site."""
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{page}: {target}"
