"""Batch jobs with interruptions, disk errors, unusual results and invalid arguments."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from modelstudio_core.errors import ConfigurationError, ModelStudioError, NotFoundError, RateLimitError, ServerError
from modelstudio_core.http.transport import Transport
from tests.batch_service import BatchService, Line, answered, failed, succeeded
from tests.loopback import Loopback, reply_json
from tests.test_batches import ADAPTERS, KEY, Async, Sync, done, text


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
        return ADAPTERS[request.param](**{"model": "qwen-flash", "api_key": KEY, "base_url": url, **settings})

    return made


@pytest.fixture
def chat(url: str) -> Callable[..., Any]:
    def made(**settings: Any) -> Any:
        return ADAPTERS["langchain"](**{"model": "qwen-flash", "api_key": KEY, "base_url": url, **settings})

    return made


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def way(request: pytest.FixtureRequest) -> type[Sync]:
    found: type[Sync] = request.param
    return found


# ---------------------------------------------------------------- interrupted


def test_cancelling_half_written_inputs_loses_none(chat: Any, service: BatchService, journal: str) -> None:
    """Nothing was submitted, so there is nothing to cancel. With the same prompts, the job can be completed."""
    prompts = [str(number) for number in range(1200)]

    def interrupted() -> Iterator[str]:
        yield from prompts[:1100]
        raise KeyboardInterrupt

    job = chat().batch_job(interrupted(), journal=journal)
    with pytest.raises(KeyboardInterrupt):
        job.submit()
    assert job.status.total == 1000
    job.cancel()
    assert (job.status.state, job.status.failed) == ("new", 0)
    with pytest.raises(ConfigurationError, match=r"prompts\[3\] differs"):
        chat().batch_job([*prompts[:3], "x", *prompts[4:]], journal=journal).submit()
    assert [text(each) for each in done(chat().batch_job(prompts, journal=journal))] == prompts
    assert service.created == 1


@pytest.mark.parametrize("what", ["submit", "cancel"])
def test_a_job_that_is_listed_late_is_found(
    chat: Any, service: BatchService, journal: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """After a kill during creation, the service may still be creating the job."""
    monkeypatch.setattr("modelstudio_core.batches.flow._SEARCH_DELAYS", (0.0, 0.0))
    job = chat().batch_job(["a"], journal=journal)
    job.submit()
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute("UPDATE files SET batch_id = NULL, state = 'new'")
    service.late = 2  # both queries of the first search
    getattr(job, what)()
    assert service.created == 1
    assert service.jobs[0]["status"] == {"submit": "validating", "cancel": "cancelled"}[what]


def test_a_rejected_job_is_not_searched(chat: Any, service: BatchService, journal: str) -> None:
    """It does not exist, so the next submit() does not wait for it."""
    service.failures = [(400, {"error": {"message": "no", "code": "InvalidParameter"}})]
    job = chat().batch_job(["a"], journal=journal)
    with pytest.raises(ModelStudioError):
        job.submit()
    service.late = 1
    job.submit()
    assert (service.created, service.late) == (1, 1)


def test_throttled_creation_is_retried(
    chat: Any, way: type[Sync], service: BatchService, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 429, a limited number of times."""
    service.failures = [(429, {"error": {"message": "throttled", "code": "Throttling"}})] * 2
    monkeypatch.setattr("modelstudio_core.batches.flow._CREATE_DELAYS", (0.0, 0.0))
    job = chat().batch_job(["a"], journal=journal)
    way(job).submit()
    assert service.created == 1
    service.failures = [(429, {"error": {"message": "throttled", "code": "Throttling"}})] * 3
    with pytest.raises(RateLimitError):
        chat().batch_job(["a"], journal=f"{journal}-2").submit()


@pytest.mark.parametrize(("header", "seconds"), [("20", 20.0), ("86400", 60.0), ("0", 5.0)])
def test_retry_after_of_a_creation_is_limited(
    chat: Any,
    way: type[Sync],
    service: BatchService,
    journal: str,
    monkeypatch: pytest.MonkeyPatch,
    header: str,
    seconds: float,
) -> None:
    """It replaces the delay, but a job is never delayed for longer than the longest delay without the header."""
    waits: list[float] = []

    async def asleep(_: Transport, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(Transport, "sleep", lambda _, seconds: waits.append(seconds))
    monkeypatch.setattr(Transport, "asleep", asleep)
    service.failures = [(429, {"error": {"message": "throttled", "code": "Throttling"}}, {"retry-after": header})]
    way(chat().batch_job(["a"], journal=journal)).submit()
    assert (service.created, [wait for wait in waits if wait]) == (1, [seconds])


def test_a_lost_reply_to_an_upload(make: Any, way: type[Sync], service: BatchService, journal: str) -> None:
    """The file may be stored twice, which is free, but only one job is created."""

    def lose(exchange: Any) -> None:
        service.files._upload(exchange.request)
        exchange.close()

    service.files.instead = [lose]
    assert [text(each) for each in done(make().batch_job(["a"], journal=journal), way)] == ["A"]
    assert service.created == 1


def test_a_lost_reply_to_a_cancellation(make: Any, way: type[Sync], service: BatchService, journal: str) -> None:
    """The service rejects the second request because the job is being cancelled. That raises no error."""
    service.polls, service.lose = 2, ["cancel"]
    job = make().batch_job(["a"], journal=journal)
    way(job).submit()
    way(job).cancel()
    assert job.status.state == "cancelling"
    way(job).wait()
    way(job).cancel()
    assert job.status.state == "cancelled"


@pytest.mark.parametrize(("outages", "ends"), [(10, True), (11, False)])
def test_waiting_survives_an_outage(
    make: Any, way: type[Sync], service: BatchService, journal: str, outages: int, ends: bool
) -> None:
    """Up to ten successive polls may fail. Then the error is raised, and a later wait() continues."""
    service.outages = outages
    job = make(max_retries=0).batch_job(["a"], journal=journal)
    way(job).submit()
    if not ends:
        with pytest.raises(ServerError, match="busy"):
            way(job).wait()
    way(job).wait()
    assert said(way(job).results()) == ["A"]


def test_an_interrupted_wait_unlocks_the_journal(chat: Any, service: BatchService, journal: str) -> None:
    """After Ctrl-C or a closed as_completed(), the job can be continued in the same process."""
    job = chat().batch_job(["a", "b"], journal=journal, lines_per_file=1)
    job.submit()

    def interrupt(step: Any) -> None:
        raise KeyboardInterrupt

    job._perform, perform = interrupt, job._perform
    with pytest.raises(KeyboardInterrupt):
        job.wait()
    job._perform = perform
    for position, _ in job.as_completed():
        assert position == 0
        break
    assert said(list(job.results())) == said(list(job.results())) == ["A", "B"]


def test_cancelled_files_are_never_submitted(make: Any, way: type[Sync], service: BatchService, journal: str) -> None:
    """A later submit() ignores them. Their inputs have an error, and retry_failed() submits them."""
    job = make().batch_job(["a", "b"], journal=journal, lines_per_file=1)
    service.files.instead = [None, reply_json(400, {"error": {"message": "no", "code": "InvalidParameter"}})]
    with pytest.raises(ModelStudioError):
        way(job).submit()
    assert job.status.state == "submitting"
    way(job).cancel()
    way(job).submit()
    assert (service.created, job.status.state) == (1, "cancelled")
    assert said(way(job).results()) == ["A", "batch_cancelled"]
    assert way(job).retry_failed() == 1
    way(job).wait()
    assert said(way(job).results()) == ["A", "B"]


def test_a_retry_keeps_the_limits(chat: Any, service: BatchService, journal: str) -> None:
    """New files have at most `lines_per_file` lines. A second retry before the end raises an error."""
    service.answer = lambda line: failed(line, *THROTTLED)
    job = chat().batch_job(["a", "b", "c"], journal=journal, lines_per_file=2)
    done(job)
    service.answer = answered
    assert job.retry_failed() == 3
    with pytest.raises(ConfigurationError, match="has not ended"):
        job.retry_failed()
    job.wait()
    assert [len(service.lines(each["input_file_id"])) for each in service.jobs] == [2, 1, 2, 1]
    assert said(list(job.results())) == ["A", "B", "C"]


def test_a_retry_with_other_prompts_changes_nothing(chat: Any, service: BatchService, journal: str) -> None:
    """An error is raised before any input is moved, so the job is still completed."""
    service.answer = lambda line: failed(line, *THROTTLED)
    done(chat().batch_job(["a", "b"], journal=journal))
    job = chat().batch_job(["a", "c"], journal=journal)
    with pytest.raises(ConfigurationError, match=r"prompts\[1\] differs"):
        job.retry_failed()
    assert job.status.state == "completed"
    assert said(list(job.results())) == ["Throttling", "Throttling"]


# ---------------------------------------------------------------- the disk


def test_a_full_disk_loses_nothing(chat: Any, service: BatchService, journal: str) -> None:
    """The inputs written so far are kept, and the job can be resumed once there is space."""
    prompts = [f"{number} {'x' * 300}" for number in range(1500)]
    job = chat().batch_job(prompts, journal=journal)
    job._journal._db.execute("PRAGMA max_page_count = 40")
    with pytest.raises(ConfigurationError, match=r"night.db' cannot be written: database or disk is full"):
        job.submit()
    assert job.status.state == "new"
    job._journal._db.execute("PRAGMA max_page_count = 100000")
    assert len(done(chat().batch_job(prompts, journal=journal))) == 1500
    assert service.created == 1


def test_a_full_disk_during_download(chat: Any, service: BatchService, journal: str) -> None:
    """The results are downloaded once there is space."""
    job = chat().batch_job(["a" * 50_000], journal=journal)
    job.submit()
    [(pages,)] = job._journal._db.execute("PRAGMA page_count")
    job._journal._db.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(ConfigurationError, match="disk is full"):
        job.wait()
    assert not job.status.ended
    job._journal._db.execute("PRAGMA max_page_count = 100000")
    job.wait()
    assert text(next(iter(job.results()))) == "A" * 50_000


def test_a_lock_that_cannot_be_written(chat: Any, service: BatchService, journal: str) -> None:
    """The error is raised immediately, and differs from that of a journal in use."""
    os.mkdir(f"{journal}-lock")
    job = chat().batch_job(["a"], journal=journal)
    with pytest.raises(ConfigurationError, match=r"night.db-lock' of the journal cannot be written"):
        job.submit()
    assert service.files.stored == {}


@pytest.mark.parametrize("path", [":memory:", "", b""], ids=["memory", "empty", "bytes"])
def test_a_journal_is_on_disk(make: Any, path: Any) -> None:
    """SQLite would keep these journals in memory, where a crash loses them."""
    with pytest.raises(ConfigurationError, match="is not a file path"):
        make().batch_job(["a"], journal=path)


def test_a_path_of_bytes(make: Any, journal: str) -> None:
    assert [text(each) for each in done(make().batch_job(["a"], journal=journal.encode()))] == ["A"]


def test_the_lock_is_beside_the_journal(
    chat: Any, tmp_path: Path, service: BatchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the working directory changes."""
    monkeypatch.chdir(tmp_path)
    job = chat().batch_job(["a"], journal="night.db")
    monkeypatch.chdir("/")
    job.submit()
    assert (tmp_path / "night.db-lock").exists()


# ---------------------------------------------------------------- unusual results


def ended(service: BatchService, output: list[Line], errors: list[Line]) -> None:
    """End the only job with these results."""
    [job] = service.jobs
    job["status"] = "completed"
    job["output_file_id"] = service._stored(output, job, "output")
    job["error_file_id"] = service._stored(errors, job, "error")


def said(results: list[Any]) -> list[str]:
    """Return the texts of answers, and the codes of errors."""
    return [str(each.code) if isinstance(each, ModelStudioError) else text(each) for each in results]


THROTTLED = ("Throttling", "slow down")
UNUSUAL: dict[str, tuple[Callable[[list[Line]], tuple[list[Line], list[Line]]], list[str]]] = {
    "answer-and-error": (lambda of: ([answered(line) for line in of], [failed(of[1], *THROTTLED)]), ["A", "B", "C"]),
    "error-then-answer": (
        lambda of: ([failed(of[1], *THROTTLED), *(answered(line) for line in of)], []), ["A", "B", "C"]
    ),
    "two-answers": (lambda of: ([answered(line) for line in [*of, *of]], []), ["A", "B", "C"]),
    "no-custom-id": (
        lambda of: ([answered(of[2])], [{"error": {"code": "X"}}, failed(of[0], *THROTTLED)]),
        ["Throttling", "batch_without_result", "C"],
    ),
    "foreign-ids": (
        lambda of: ([answered({**line, "custom_id": id}) for line, id in zip(of, ("7", "-1", "x"), strict=True)], []),
        ["batch_without_result"] * 3,
    ),
    "only-errors": (lambda of: ([], [failed(line, *THROTTLED) for line in of]), ["Throttling"] * 3),
    "nothing": (lambda of: ([], []), ["batch_without_result"] * 3),
}  # fmt: skip


@pytest.mark.parametrize(("made", "expected"), UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_results(chat: Any, service: BatchService, journal: str, made: Any, expected: list[str]) -> None:
    """An answer has priority over errors. Inputs without a result can be submitted again."""
    job = chat().batch_job(["a", "b", "c"], journal=journal)
    job.submit()
    ended(service, *made(service.lines(service.jobs[0]["input_file_id"])))
    job.wait()
    assert said(list(job.results())) == expected
    wrong = sum(len(each) > 1 for each in expected)
    assert (job.status.total, job.status.completed, job.status.failed) == (3, 3 - wrong, wrong)
    assert job.retry_failed() == wrong


def test_blank_lines_and_carriage_returns(chat: Any, service: BatchService, journal: str) -> None:
    """They are ignored in result files."""
    job = chat().batch_job(["a", "b"], journal=journal)
    job.submit()
    ended(service, [answered(line) for line in service.lines(service.jobs[0]["input_file_id"])], [])
    id = service.jobs[0]["output_file_id"]
    service.files.contents[id] = b"\n" + service.files.contents[id].replace(b"\n", b"\r\n\r\n")
    job.wait()
    assert said(list(job.results())) == ["A", "B"]


def test_an_error_file_that_cannot_be_downloaded(
    make: Any, way: type[Sync], service: BatchService, journal: str
) -> None:
    """According to one vendor page, only output files can be downloaded. The answers are returned anyway."""
    job = make().batch_job(["a", "b"], journal=journal)
    way(job).submit()
    first, second = service.lines(service.jobs[0]["input_file_id"])
    ended(service, [answered(second)], [failed(first, *THROTTLED)])
    del service.files.stored[service.jobs[0]["error_file_id"]]
    way(job).wait()
    assert said(way(job).results()) == ["batch_without_result", "B"]


# ---------------------------------------------------------------- arguments


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "number": ({"prompts": ["a", 5]}, r"prompts\[1\] cannot be sent"),
    "none": ({"prompts": [None]}, r"prompts\[0\] cannot be sent"),
    "no-iterable": ({"prompts": 5}, "prompts=5 is not an iterable"),
    "settings": ({"prompts": ["a"], "settings": ["x"]}, r"settings\[0\]='x'"),
    "one-mapping": (
        {"prompts": ["a"], "settings": {"temperature": 1}},
        "settings={'temperature': 1} is not an iterable",
    ),
    "hours": ({"prompts": ["a"], "completion_window": "23h"}, "completion_window='23h' must be \"24h\""),
    "days": ({"prompts": ["a"], "completion_window": "15d"}, "completion_window='15d'"),
    "unit": ({"prompts": ["a"], "completion_window": 24}, "completion_window=24"),
}


@pytest.mark.parametrize(("options", "said"), WRONG.values(), ids=WRONG)
def test_invalid_arguments(make: Any, service: BatchService, journal: str, options: dict[str, Any], said: str) -> None:
    """Errors of the frameworks get the position of the prompt. Nothing is uploaded."""
    with pytest.raises(ConfigurationError, match=said):
        make().batch_job(journal=journal, **options).submit()
    assert service.files.stored == {}


@pytest.mark.parametrize("window", ["24h", "336h", "1d", "14d"])
def test_completion_windows(chat: Any, service: BatchService, journal: str, window: str) -> None:
    chat().batch_job(["a"], journal=journal, completion_window=window).submit()
    assert service.jobs[0]["completion_window"] == window


def test_a_region_without_batch_jobs(make: Any, journal: str) -> None:
    with pytest.raises(ConfigurationError, match="region='hongkong' does not support batch jobs"):
        make(base_url=None, region="hongkong").batch_job(["a"], journal=journal)
    assert not os.path.exists(journal)


def test_lines_stream_only_if_the_model_thinks(make: Any, service: BatchService, journal: str) -> None:
    """`streaming=True` applies to live calls. The vendor's generator streams lines that think."""
    llm = make(model="qwen-plus", streaming=True)
    done(llm.batch_job(["a", "b"], journal=journal, settings=[{}, {"enable_thinking": True}]))
    bodies = [service.lines(job["input_file_id"])[0]["body"] for job in service.jobs]
    assert ["stream" in body for body in bodies] == [False, True]


def test_settings_that_change_between_prompts(chat: Any, service: BatchService, journal: str) -> None:
    """A generator may yield the same dict each time. Each line has its current content."""
    settings: dict[str, Any] = {"stop": []}

    def changing() -> Iterator[dict[str, Any]]:
        for word in ("x", "y"):
            settings["stop"].append(word)
            yield settings

    chat().batch_job(["a", "b"], journal=journal, settings=changing()).submit()
    lines = service.lines(service.jobs[0]["input_file_id"])
    assert [line["body"]["stop"] for line in lines] == [["x"], ["x", "y"]]


# ---------------------------------------------------------------- lines and answers


def test_a_file_has_one_model(make: Any, service: BatchService, journal: str) -> None:
    """Prompts with other models are in separate files. The answers are still in order."""
    settings = [None, {"model": "qwen-plus"}, None, {"model": "qwen-plus", "temperature": 0.5}]
    assert said(done(make().batch_job(iter("abcd"), journal=journal, settings=settings))) == list("ABCD")
    files = [service.lines(job["input_file_id"]) for job in service.jobs]
    assert [[line["custom_id"] for line in file] for file in files] == [["0", "2"], ["1", "3"]]
    assert [{line["body"]["model"] for line in file} for file in files] == [{"qwen-flash"}, {"qwen-plus"}]


def test_json_mode_as_in_a_live_call(make: Any, service: BatchService, journal: str) -> None:
    """The service requires the word JSON in the messages, so it is added if missing."""
    job = make().batch_job(["as JSON", "a"], journal=journal, response_format={"type": "json_object"})
    job.submit()
    first, second = (line["body"]["messages"] for line in service.lines(service.jobs[0]["input_file_id"]))
    assert first == [{"role": "user", "content": "as JSON"}]
    assert [message["role"] for message in second] == ["system", "user"]


def test_names_of_messages_are_sent(chat: Any, service: BatchService, journal: str) -> None:
    done(chat().batch_job([[HumanMessage("a", name="Ada")]], journal=journal))
    [line] = service.lines(service.jobs[0]["input_file_id"])
    assert line["body"]["messages"] == [{"role": "user", "name": "Ada", "content": "a"}]


def test_usage_includes_cached_and_reasoning_tokens(make: Any, service: BatchService, journal: str) -> None:
    usage = {
        "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 1},
    }  # fmt: skip
    service.answer = lambda line: succeeded(line, {"role": "assistant", "content": "x"}, usage=usage)
    job = make().batch_job(["a", "b"], journal=journal)
    done(job)
    found = job.usage
    assert (found.input_tokens, found.output_tokens, found.total_tokens) == (10, 6, 16)
    assert (found.cached_tokens, found.reasoning_tokens) == (4, 2)


def test_the_status_of_a_running_job(chat: Any, service: BatchService, journal: str) -> None:
    """It has the counts of the service. An undocumented state counts as in progress."""
    service.polls = 100
    job = chat().batch_job(["a", "b", "c"], journal=journal)
    job.submit()
    service.jobs[0] |= {"request_counts": {"total": 3, "completed": 1, "failed": 1}, "status": "queued"}
    status = job.refresh()
    assert (status.state, status.total, status.completed, status.failed) == ("in_progress", 3, 1, 1)
    assert not status.ended


def test_a_job_that_the_service_has_deleted(chat: Any, service: BatchService, journal: str) -> None:
    job = chat().batch_job(["a"], journal=journal)
    job.submit()
    service.jobs.clear()
    with pytest.raises(NotFoundError, match=r"batch_0\. The service keeps jobs for 30 days"):
        job.wait()


def test_answers_have_the_output_version_of_the_model(chat: Any, service: BatchService, journal: str) -> None:
    """Like those of `invoke`."""
    [found] = done(chat(output_version="v1").batch_job(["a"], journal=journal))
    assert found.content == [{"type": "text", "text": "A"}]
    assert found.response_metadata["output_version"] == "v1"


def test_jobs_of_other_journals_are_ignored(chat: Any, service: BatchService, journal: str) -> None:
    """The service may ignore the queries of a list, and a search by name is fuzzy."""
    chat().batch_job(["a"], journal=journal).submit()
    service.lists_all, service.lose = True, ["create"]
    assert said(done(chat().batch_job(["b"], journal=f"{journal}-2"))) == ["B"]
    assert service.created == 2


@pytest.mark.parametrize(("spare", "files"), [(0, 1), (-1, 2)])
def test_bytes_of_a_file_include_newlines(
    chat: Any, service: BatchService, journal: str, spare: int, files: int
) -> None:
    """Two lines fit exactly, or are split."""
    chat().batch_job(["a"], journal=journal).submit()
    [size] = [file["bytes"] for file in service.files.stored.values()]
    job = chat().batch_job(["a", "b"], journal=f"{journal}-2", bytes_per_file=2 * size + spare)
    job.submit()
    assert job.status.files == files


def test_each_file_is_yielded_once(chat: Any, service: BatchService, journal: str) -> None:
    """Not again at the next poll."""
    service.polls = 100
    job = chat().batch_job(["a", "b"], journal=journal, lines_per_file=1)
    job.submit()
    first, second = service.jobs
    found = job.as_completed(poll_interval=0.001)
    service._end(first)
    assert next(found)[0] == 0
    service._end(second)
    assert [position for position, _ in found] == [1]


def test_a_progress_bar_without_tqdm(make: Any, journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is of the adapter's class."""
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    llm = make()
    with pytest.raises(llm.configuration_error, match="pip install tqdm"):
        llm.batch_job(["a"], journal=journal).wait(progress=True)
