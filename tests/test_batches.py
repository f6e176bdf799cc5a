"""Batch jobs of both adapters, sync and async: results, errors, resuming, splitting."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompt_values import StringPromptValue
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from modelstudio_core.batches import BatchJob
from modelstudio_core.errors import (
    APIConnectionError,
    APIStatusError,
    ConfigurationError,
    ContentFilterError,
    ModelStudioError,
    NotFoundError,
    ProtocolError,
    RateLimitError,
)
from tests.batch_service import BatchService, Line, answered, failed, succeeded
from tests.loopback import Loopback, reply_json

KEY = "sk-batch-key"
ADAPTERS: dict[str, Any] = {"langchain": ChatModelStudio, "llama_index": ModelStudio}
QUICK = 0.001


class City(BaseModel):
    """A city."""

    name: str = Field(description="its name")


def get_weather(city: str) -> str:
    """Tell the weather."""
    return city


@pytest.fixture
def service() -> BatchService:
    return BatchService()


@pytest.fixture
def url(service: BatchService) -> Iterator[str]:
    with Loopback(service) as server:
        yield server.url


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "night.db")


@pytest.fixture(params=ADAPTERS)
def make(request: pytest.FixtureRequest, url: str) -> Callable[..., Any]:
    def made(**settings: Any) -> Any:
        return ADAPTERS[request.param](**{"model": "qwen-turbo", "api_key": KEY, "base_url": url, **settings})

    return made


@pytest.fixture
def chat(url: str) -> Callable[..., ChatModelStudio]:
    def made(**settings: Any) -> ChatModelStudio:
        return ChatModelStudio(**{"model": "qwen-turbo", "api_key": KEY, "base_url": url, **settings})

    return made


class Sync:
    """Call the methods of a job."""

    def __init__(self, job: BatchJob[Any]) -> None:
        self.job = job

    def submit(self) -> None:
        self.job.submit()

    def wait(self) -> None:
        self.job.wait(poll_interval=QUICK)

    def cancel(self) -> None:
        self.job.cancel()

    def retry_failed(self) -> int:
        return self.job.retry_failed()

    def results(self) -> list[Any]:
        return list(self.job.results())

    def as_completed(self) -> list[Any]:
        return list(self.job.as_completed(poll_interval=QUICK))


class Async(Sync):
    """Call the async versions."""

    def submit(self) -> None:
        asyncio.run(self.job.asubmit())

    def wait(self) -> None:
        asyncio.run(self.job.await_done(poll_interval=QUICK))  # type: ignore[arg-type]

    def cancel(self) -> None:
        asyncio.run(self.job.acancel())

    def retry_failed(self) -> int:
        return asyncio.run(self.job.aretry_failed())

    def results(self) -> list[Any]:
        async def collect() -> list[Any]:
            return [each async for each in self.job.aresults()]

        return asyncio.run(collect())

    def as_completed(self) -> list[Any]:
        async def collect() -> list[Any]:
            return [each async for each in self.job.aas_completed(poll_interval=QUICK)]

        return asyncio.run(collect())


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def way(request: pytest.FixtureRequest) -> type[Sync]:
    found: type[Sync] = request.param
    return found


def text(result: Any) -> str:
    return str(result.text if isinstance(result, AIMessage) else result.message.content)


def done(job: BatchJob[Any], way: type[Sync] = Sync) -> list[Any]:
    """Submit a job, wait for it, and return its results."""
    calls = way(job)
    calls.submit()
    calls.wait()
    return calls.results()


# ---------------------------------------------------------------- answers


def test_answers_come_in_order(make: Any, way: type[Sync], service: BatchService, journal: str) -> None:
    """Even if the service returns them in another order, in several files. Usage and cost are totals."""
    job = make().batch_job((f"prompt {number}" for number in range(5)), journal=journal, lines_per_file=2)
    assert (job.status.state, job.status.total, service.created) == ("new", 0, 0)
    results = done(job, way)
    assert [text(result) for result in results] == [f"PROMPT {number}" for number in range(5)]
    assert job.status == type(job.status)("completed", total=5, completed=5, failed=0, files=3)
    assert (job.usage.input_tokens, job.usage.output_tokens, job.usage.total_tokens) == (130, 175, 305)
    assert job.cost(input=2, output=4) == pytest.approx((130 * 2 + 175 * 4) / 1e6)
    assert [body["completion_window"] for body in service.jobs] == ["24h"] * 3


def test_the_answer_equals_that_of_a_live_call(make: Any, journal: str, service: BatchService, url: str) -> None:
    """With reasoning, a tool call and metadata, as from `invoke` and `chat`."""
    call = {"id": "call_1", "type": "function", "index": 0, "function": {"name": "f", "arguments": '{"a": 1}'}}
    message = {"role": "assistant", "content": "Hm", "reasoning_content": "Let me see", "tool_calls": [call]}
    service.answer = lambda line: succeeded(line, message, "tool_calls")
    [found] = done(make().batch_job(["a"], journal=journal))
    body = succeeded({"custom_id": "0", "body": {"model": "qwen-turbo"}}, message, "tool_calls")["response"]["body"]
    with Loopback(reply_json(200, body, {"x-request-id": "c308ef7f-0"})) as live:
        llm = make(base_url=live.url)
        if isinstance(llm, ChatModelStudio):
            expected: Any = llm.invoke("a")
            assert expected.tool_calls
            assert found == expected.model_copy(update={"id": None})
        else:
            expected = llm.chat([ChatMessage("a")])
            assert found == expected
            assert [type(block) for block in found.message.blocks][-1] is ToolCallBlock


def test_langchain_prompts(url: str, service: BatchService, journal: str) -> None:
    """Texts, messages, prompt values and tuples are sent as by `invoke`."""
    llm = ChatModelStudio(model="qwen-turbo", api_key=KEY, base_url=url)
    inputs: list[Any] = ["a", [SystemMessage("s"), HumanMessage("b")], StringPromptValue(text="c"), [("user", "d")]]
    assert [text(result) for result in done(llm.batch_job(inputs, journal=journal))] == ["A", "B", "C", "D"]
    assert service.lines("file-batch-1")[1]["body"]["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "b"},
    ]


def test_llama_index_prompts(url: str, service: BatchService, journal: str) -> None:
    """A text, one message and a list of messages."""
    llm = ModelStudio(model="qwen-turbo", api_key=KEY, base_url=url)
    inputs: list[Any] = ["a", ChatMessage("b"), [ChatMessage("s", role=MessageRole.SYSTEM), ChatMessage("c")]]
    assert [text(result) for result in done(llm.batch_job(inputs, journal=journal))] == ["A", "B", "C"]


def test_local_media_are_inlined(url: str, service: BatchService, journal: str, tmp_path: Path) -> None:
    """A line cannot refer to a temporary upload. If the line becomes too long, an error is raised."""
    image = tmp_path / "dot.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n1")
    llm = ChatModelStudio(model="qwen3-vl-plus", api_key=KEY, base_url=url)
    prompt = [HumanMessage([{"type": "text", "text": "a"}, {"type": "image", "path": str(image)}])]
    service.answer = lambda line: succeeded(line, {"role": "assistant", "content": "dot"})
    assert [text(each) for each in done(llm.batch_job([prompt], journal=journal))] == ["dot"]
    content = service.lines("file-batch-1")[0]["body"]["messages"][0]["content"]
    assert content[1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + b"1" * 8_000_000)
    with pytest.raises(ConfigurationError, match=r"prompts\[0\] makes a line of"):
        llm.batch_job([prompt], journal=f"{journal}-2").submit()


# ---------------------------------------------------------------- settings and bindings


def test_settings_per_prompt(make: Any, service: BatchService, journal: str) -> None:
    """Each file has one model and one thinking mode."""
    settings = [
        {"temperature": 0.5}, {"model": "qwen-plus"}, None, {"enable_thinking": True}, {"stop": ["x"], "max_tokens": 3},
    ]  # fmt: skip
    job = make(model="qwen-plus", enable_thinking=False).batch_job(iter("abcde"), journal=journal, settings=settings)
    assert [text(result) for result in done(job)] == list("ABCDE")
    bodies = {line["custom_id"]: line["body"] for at in (1, 2) for line in service.lines(f"file-batch-{at}")}
    assert bodies["0"]["temperature"] == 0.5
    assert bodies["4"] | {"stop": ["x"], "max_tokens": 3} == bodies["4"]
    assert [line["custom_id"] for line in service.lines("file-batch-2")] == ["3"]
    assert bodies["3"]["enable_thinking"] is True
    assert bodies["3"]["stream"] is True  # as in the vendor's generator, for lines that think
    assert service.created == 2


def test_bound_tools_and_settings_are_sent(url: str, service: BatchService, journal: str) -> None:
    """In every line, also after several binds."""
    llm = ChatModelStudio(model="qwen-turbo", api_key=KEY, base_url=url)
    bound = llm.bind(temperature=0.1).bind_tools([get_weather]).with_config(tags=["a"])
    done(bound.batch_job(["a", "b"], journal=journal))
    for line in service.lines("file-batch-1"):
        assert line["body"]["temperature"] == 0.1
        assert line["body"]["tools"][0]["function"]["name"] == "get_weather"


@pytest.mark.parametrize("include_raw", [False, True])
def test_structured_output_is_parsed(url: str, service: BatchService, journal: str, include_raw: bool) -> None:
    """Results are objects. An answer that cannot be parsed is returned as an error."""
    service.answer = lambda line: succeeded(
        line, {"role": "assistant", "content": '{"name": "Paris"}' if line["custom_id"] == "0" else "no"}
    )
    llm = ChatModelStudio(model="qwen-turbo", api_key=KEY, base_url=url).with_structured_output(
        City, method="json_schema", include_raw=include_raw
    )
    good, bad = done(llm.batch_job(["a", "b"], journal=journal))
    assert service.lines("file-batch-1")[0]["body"]["response_format"]["type"] == "json_schema"
    if include_raw:
        assert (good["parsed"], good["parsing_error"]) == (City(name="Paris"), None)
        assert bad["parsed"] is None
        bad = bad["parsing_error"]
    else:
        assert good == City(name="Paris")
    assert isinstance(bad, ValueError)


def test_llama_index_tools_and_structured_output(url: str, service: BatchService, tmp_path: Path) -> None:
    """`tools=` works as in `chat_with_tools`, and a structured LLM returns objects."""
    llm = ModelStudio(model="qwen-turbo", api_key=KEY, base_url=url)
    tool = FunctionTool.from_defaults(get_weather)
    done(llm.batch_job(["a"], journal=tmp_path / "tools.db", tools=[tool], tool_required=True))
    body = service.lines("file-batch-1")[0]["body"]
    assert body["tools"][0]["function"]["name"] == "get_weather"
    assert body["tool_choice"]["function"]["name"] == "get_weather"

    def city(line: Line) -> Line:
        name = line["body"]["tools"][0]["function"]["name"] if "tools" in line["body"] else ""
        call = {"id": "1", "type": "function", "function": {"name": name, "arguments": '{"name": "Paris"}'}}
        content = {"content": '{"name": "Paris"}'} if not name else {"content": "", "tool_calls": [call]}
        return succeeded(line, {"role": "assistant", **content})

    service.answer = city
    [found] = done(llm.as_structured_llm(City).batch_job(["a"], journal=tmp_path / "city.db"))
    assert isinstance(found, ChatResponse)
    assert found.raw == City(name="Paris")


def test_the_test_model(chat: Any, service: BatchService, journal: str) -> None:
    """The dry-run model has its own endpoint and limits."""
    done(chat(model="batch-test-model").batch_job(map(str, range(150)), journal=journal))
    assert [job["endpoint"] for job in service.jobs] == ["/v1/chat/ds-test"] * 2
    line = service.lines("file-batch-1")[0]
    assert (line["url"], "stream" in line["body"]) == ("/v1/chat/ds-test", False)


# ---------------------------------------------------------------- failures


def test_failed_lines_are_typed_errors(make: Any, way: type[Sync], service: BatchService, journal: str) -> None:
    """`retry_failed` submits only those with retryable errors."""

    def answer(line: Line) -> Line:
        kinds = {"1": ("DataInspectionFailed", "no"), "2": ("Throttling.RateQuota", "slow down")}
        return failed(line, *kinds[line["custom_id"]]) if line["custom_id"] in kinds else answered(line)

    service.answer = answer
    job = make().batch_job(["a", "b", "c"], journal=journal)
    first, second, third = done(job, way)
    assert text(first) == "A"
    assert isinstance(second, ContentFilterError)
    assert isinstance(third, RateLimitError)
    assert (job.status.completed, job.status.failed, job.status.state) == (1, 2, "completed")
    service.answer = answered
    assert way(job).retry_failed() == 1
    assert not job.status.ended
    way(job).wait()
    assert [text(each) if not isinstance(each, Exception) else type(each) for each in way(job).results()] == [
        "A", type(second), "C",
    ]  # fmt: skip
    assert [line["custom_id"] for line in service.lines(service.jobs[-1]["input_file_id"])] == ["2"]
    assert way(job).retry_failed() == 0


@pytest.mark.parametrize("ends", ["expired", "cancelled", "failed"])
def test_a_job_that_does_not_complete(chat: Any, service: BatchService, journal: str, ends: str) -> None:
    """Completed answers are returned, with an error for each unprocessed input."""
    service.ends, service.processed = ends, 1
    service.errors = {"data": [{"code": "invalid_file", "message": "line 1"}]}
    job = chat().batch_job(["a", "b"], journal=journal)
    first, second = done(job)
    assert job.status.state == ends
    assert isinstance(second, APIStatusError)
    assert (second.code, second.is_retryable) == (f"batch_{ends}", ends != "failed")
    if ends == "failed":
        assert "line 1" in str(first)
        assert job.retry_failed() == 0
        return
    assert text(first) == "A"
    service.ends = "completed"
    assert job.retry_failed() == 1
    assert [text(each) for each in done(job)] == ["A", "B"]


def test_cancel(make: Any, way: type[Sync], service: BatchService, journal: str) -> None:
    """Running jobs are cancelled. A job that has ended meanwhile raises no error."""
    service.polls = 3
    job = make().batch_job(["a", "b"], journal=journal, lines_per_file=1)
    calls = way(job)
    calls.submit()
    service.jobs[0]["status"] = "finalizing"
    calls.cancel()
    assert job.status.state == "cancelling"
    service.jobs[0]["status"] = "in_progress"
    calls.wait()
    assert [each["status"] for each in service.jobs] == ["completed", "cancelled"]
    assert [text(each) for each in calls.results()] == ["A", "B"]  # done before the service stopped


def test_as_completed(make: Any, way: type[Sync], service: BatchService, journal: str) -> None:
    """Yields each result with the position of its input."""
    job = make().batch_job(iter("abc"), journal=journal, lines_per_file=2)
    way(job).submit()
    found = way(job).as_completed()
    assert [(position, text(each)) for position, each in found] == [(0, "A"), (1, "B"), (2, "C")]


# ---------------------------------------------------------------- resuming without duplicates


@pytest.mark.parametrize("refuse", [[], ["input_file_ids"]], ids=["by-file", "by-name"])
def test_a_lost_reply_creates_no_second_job(
    make: Any, way: type[Sync], service: BatchService, journal: str, refuse: list[str]
) -> None:
    """The job is found by its input file, or by its name if the service rejects that query."""
    service.lose, service.refuse = ["create"], refuse
    assert [text(each) for each in done(make().batch_job(["a"], journal=journal), way)] == ["A"]
    assert service.created == 1


def test_a_server_error_on_creation(
    chat: Any, service: BatchService, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is created again only if a search does not find it."""
    monkeypatch.setattr("modelstudio_core.batches.flow._SEARCH_DELAYS", (0.0,))
    service.failures = [(503, {"error": {"message": "busy", "code": "ServiceUnavailable"}})]
    assert [text(each) for each in done(chat().batch_job(["a"], journal=journal))] == ["A"]
    assert service.created == 1


def test_a_rejected_job_can_be_submitted_later(chat: Any, service: BatchService, journal: str) -> None:
    """After the error, `submit` creates it without a second upload."""
    body = {"error": {"message": "The provided model x is not supported by the Batch API.", "code": "model_not_found"}}
    service.failures = [(404, body)]
    job = chat().batch_job(["a"], journal=journal)
    with pytest.raises(NotFoundError, match="not supported by the Batch API"):
        job.submit()
    assert job.status.state == "new"
    assert [text(each) for each in done(job)] == ["A"]
    assert (len(service.uploads), service.created) == (1, 1)


def test_another_process_resumes(chat: Any, service: BatchService, journal: str) -> None:
    """With the journal alone or with the same prompts, nothing is sent twice."""
    chat().batch_job(["a", "b"], journal=journal).submit()
    job = chat().batch_job(journal=journal)
    assert [text(each) for each in done(job)] == ["A", "B"]
    again = chat().batch_job(iter(["a", "b"]), journal=journal)
    assert [text(each) for each in done(again)] == ["A", "B"]
    assert service.created == 1


def test_an_upload_missing_in_the_journal_is_found(chat: Any, service: BatchService, journal: str) -> None:
    """After a kill between the upload and the commit, the file is found by its name."""
    job = chat().batch_job(["a"], journal=journal)
    job.submit()
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute("UPDATE files SET file_id = NULL, batch_id = NULL, create_begun = 0, state = 'new'")
    service.jobs.clear()
    job.submit()
    assert (len(service.uploads), service.created) == (1, 1)


OTHERS: dict[str, tuple[dict[str, Any], Any, str]] = {
    "model": ({"model": "qwen-max"}, None, "model='qwen-turbo' in the journal, now 'qwen-max'"),
    "settings": ({"temperature": 0.5}, ["a", "b"], "temperature"),
    "prompt": ({}, ["a", "c"], r"prompts\[1\] differs"),
    "fewer": ({}, ["a"], "it has 2, not 1"),
    "more": ({}, ["a", "b", "c"], "more were passed"),
}


@pytest.mark.parametrize(("settings", "prompts", "said"), OTHERS.values(), ids=OTHERS)
def test_a_journal_belongs_to_its_job(
    chat: Any, journal: str, settings: dict[str, Any], prompts: list[str] | None, said: str
) -> None:
    """With another model, other settings or prompts, an error names the difference."""
    chat().batch_job(["a", "b"], journal=journal).submit()
    with pytest.raises(ConfigurationError, match=said):
        chat(**settings).batch_job(prompts, journal=journal).submit()


def test_the_journal_holds_no_key(chat: Any, journal: str, tmp_path: Path) -> None:
    done(chat(default_headers={"x-api-token": KEY}).batch_job(["a"], journal=journal))
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_one_process_at_a_time(chat: Any, journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another process uses the journal, an error is raised after the lock timeout."""
    monkeypatch.setattr("modelstudio_core.batches.flow._LOCK_SECONDS", 0.05)
    job = chat().batch_job(["a"], journal=journal)
    lock = sqlite3.connect(f"{journal}-lock", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ConfigurationError, match="is in use"):
        job.submit()
    lock.close()
    assert [text(each) for each in done(job)] == ["A"]


# ---------------------------------------------------------------- rejected before anything is sent


def test_a_line_that_is_too_long(chat: Any, service: BatchService, journal: str) -> None:
    """The error has its position, and nothing is uploaded. With a shorter prompt, the job continues."""
    job = chat().batch_job(["a", "b" * 6_000_000], journal=journal)
    with pytest.raises(ConfigurationError, match=r"prompts\[1\] makes a line of 6000\d+ bytes"):
        job.submit()
    assert service.files.stored == {}
    assert [text(each) for each in done(chat().batch_job(["a", "b"], journal=journal))] == ["A", "B"]


def test_files_are_split_by_bytes(chat: Any, service: BatchService, journal: str) -> None:
    done(chat().batch_job(["a" * 300, "b" * 300, "c"], journal=journal, bytes_per_file=600))
    assert [len(service.lines(job["input_file_id"])) for job in service.jobs] == [1, 2]
    files = service.files.stored.values()
    assert all(file["bytes"] <= 600 for file in files if file["purpose"] == "batch")


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "native": ({"protocol": "dashscope"}, {}, "protocol='openai'"),
    "none": ({}, {"prompts": []}, "prompts is empty"),
    "one-text": ({}, {"prompts": "hello"}, "a single text"),
    "few-settings": ({}, {"settings": [None]}, "has 1 entries, but there are more prompts"),
    "many-settings": ({}, {"settings": [None] * 3}, "more entries than the 2 prompts"),
    "headers": ({}, {"settings": [{"extra_headers": {"a": "b"}}] * 2}, r"prompts\[0\]: extra_headers"),
    "unknown": ({}, {"settings": [{}, {"temprature": 1}]}, r"prompts\[1\]: unknown argument temprature"),
    "no-file": ({}, {"prompts": None}, "does not exist"),
    "limit": ({}, {"lines_per_file": 0}, "lines_per_file=0"),
}


@pytest.mark.parametrize(("settings", "options", "said"), REFUSED.values(), ids=REFUSED)
def test_rejected_arguments(
    chat: Any, service: BatchService, journal: str, settings: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        chat(**settings).batch_job(**{"prompts": ["a", "b"], "journal": journal, **options}).submit()
    assert service.files.stored == {}


def test_a_file_that_is_not_a_journal(chat: Any, tmp_path: Path) -> None:
    """It is not overwritten."""
    other = tmp_path / "notes.txt"
    other.write_text("nothing of ours" * 100)
    with pytest.raises(ConfigurationError, match="cannot be used as a journal"):
        chat().batch_job(["a"], journal=other)
    assert other.read_text() == "nothing of ours" * 100


def test_a_warning_about_a_long_line(chat: Any, journal: str, caplog: pytest.LogCaptureFixture) -> None:
    """The vendor's sources say 1 MB or 6 MB, so a line between them is sent."""
    done(chat().batch_job(["a" * 1_100_000], journal=journal))
    assert "prompts[0] makes a line of 11" in caplog.text


def test_waiting(chat: Any, service: BatchService, journal: str) -> None:
    """`wait` needs a submitted job. A timeout does not change the job."""
    job = chat().batch_job(["a"], journal=journal)
    with pytest.raises(ConfigurationError, match=r"call submit\(\) first"):
        job.wait()
    service.polls = 1000
    job.submit()
    with pytest.raises(TimeoutError, match=r"\(in_progress, 0 of 1 answered\)"):
        job.wait(poll_interval=0.01, timeout=0.03)
    service.polls = 1
    assert job.refresh().ended


def test_a_progress_bar(chat: Any, journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    job = chat().batch_job(["a", "b"], journal=journal)
    job.submit()
    job.wait(progress=True, poll_interval=QUICK)
    assert "2/2" in capsys.readouterr().err


# ---------------------------------------------------------------- the forms of failed lines


FORMS: dict[str, tuple[dict[str, Any], type[ModelStudioError]]] = {
    "field-table": ({"error": {"code": "InternalError", "message": "m"}, "response": None}, APIStatusError),
    "vendor-script": ({"error": {"error_code": "Throttling", "error_message": "m"}}, RateLimitError),
    "status": ({"response": {"status_code": 429, "body": {"error": {"message": "m"}}}, "error": None}, RateLimitError),
    "in-body": ({"response": {"status_code": 200, "body": {"error": {"code": "data_inspection_failed"}}}},
                ContentFilterError),
    "status-alone": ({"response": {"status_code": 404, "body": None}}, NotFoundError),
    "text": ({"error": "m"}, APIStatusError),
    "nothing": ({"response": None, "error": None}, ProtocolError),
    "cut": ({"response": {"status_code": 200, "body": {"choices": [{"message": {"content": "x"}}]}}}, ProtocolError),
}  # fmt: skip


@pytest.mark.parametrize(("form", "kind"), FORMS.values(), ids=FORMS)
def test_forms_of_failed_lines(
    url: str, service: BatchService, journal: str, form: dict[str, Any], kind: type[ModelStudioError]
) -> None:
    """All forms that the vendor's texts suggest, because there is no sample."""
    service.answer = lambda line: {"custom_id": line["custom_id"], "error": None} | form
    job = ChatModelStudio(model="qwen-turbo", api_key=KEY, base_url=url).batch_job(["a"], journal=journal)
    [found] = done(job)
    assert isinstance(found, kind)
    assert (job.status.completed, job.status.failed) == (0, 1)
    assert found.status_code is None or found.status_code >= 400


def test_a_lost_connection_is_raised(chat: Any, journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inputs stay in the journal."""
    monkeypatch.setattr("modelstudio_core.batches.flow._SEARCH_DELAYS", (0.0,))
    job = chat(base_url="http://127.0.0.1:9", max_retries=0).batch_job(["a"], journal=journal)
    with pytest.raises(APIConnectionError):
        job.submit()
    assert job.status.total == 1
