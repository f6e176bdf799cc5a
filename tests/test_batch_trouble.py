"""Batch jobs in trouble: interrupted writing, disks that fail, results that are odd, and arguments that are wrong."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelstudio_core.errors import ConfigurationError, ModelStudioError
from tests.batch_service import BatchService, Line, answered, failed
from tests.loopback import Loopback
from tests.test_batches import ADAPTERS, KEY, QUICK, Async, Sync, done, text


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
    """Nothing was sent, so there is nothing to cancel. With the same prompts, the job goes on to its end."""
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
    assert [text(each) for each in done(chat().batch_job(prompts, journal=journal))] == prompts
    assert service.created == 1


@pytest.mark.parametrize("what", ["submit", "cancel"])
def test_a_job_that_the_list_shows_late_is_found(
    chat: Any, service: BatchService, journal: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Where the process was killed after the request to create a job, the service may still be about to create it."""
    monkeypatch.setattr("modelstudio_core.batches.flow._LOOK_AGAIN", (0.0, 0.0))
    job = chat().batch_job(["a"], journal=journal)
    job.submit()
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE files SET batch_id = NULL, state = 'new'")
    service.late = 2  # both queries of the first look
    getattr(job, what)()
    assert service.created == 1
    assert service.jobs[0]["status"] == {"submit": "validating", "cancel": "cancelled"}[what]


def test_a_lost_reply_to_an_upload(make: Any, way: type[Sync], service: BatchService, journal: str) -> None:
    """The file may be stored twice, which is free, but one job is created."""

    def lose(exchange: Any) -> None:
        service.files._upload(exchange.request)
        exchange.close()

    service.files.instead = [lose]
    assert [text(each) for each in done(make().batch_job(["a"], journal=journal), way)] == ["A"]
    assert service.created == 1


def test_a_lost_reply_to_a_cancellation(make: Any, way: type[Sync], service: BatchService, journal: str) -> None:
    """The service refuses the second request, as the job is being cancelled. A later cancel() is no error either."""
    service.looks, service.lose = 2, ["cancel"]
    job = make().batch_job(["a"], journal=journal)
    way(job).submit()
    way(job).cancel()
    assert job.status.state == "cancelling"
    way(job).wait()
    way(job).cancel()
    assert job.status.state == "cancelled"


# ---------------------------------------------------------------- the disk


def test_a_full_disk_is_named_and_loses_nothing(chat: Any, service: BatchService, journal: str) -> None:
    """The inputs written so far stay, and the same job goes on once there is room."""
    prompts = [f"{number} {'x' * 300}" for number in range(1500)]
    job = chat().batch_job(prompts, journal=journal)
    job._journal._db.execute("PRAGMA max_page_count = 40")
    with pytest.raises(ConfigurationError, match=r"night.db' cannot be written: database or disk is full"):
        job.submit()
    assert job.status.state == "new"
    job._journal._db.execute("PRAGMA max_page_count = 100000")
    assert len(done(chat().batch_job(prompts, journal=journal))) == 1500
    assert service.created == 1


def test_a_full_disk_while_results_come(chat: Any, service: BatchService, journal: str) -> None:
    """They are at the service, and fetched once there is room."""
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
    """It is no journal in use, and is said at once."""
    os.mkdir(f"{journal}-lock")
    job = chat().batch_job(["a"], journal=journal)
    with pytest.raises(ConfigurationError, match=r"night.db-lock', the lock of the journal, cannot be written"):
        job.submit()
    assert service.files.stored == {}


@pytest.mark.parametrize("path", [":memory:", "", b""], ids=["memory", "empty", "bytes"])
def test_a_journal_is_on_disk(make: Any, path: Any) -> None:
    """SQLite would keep these in memory, and the job would be lost with the process."""
    with pytest.raises(ConfigurationError, match="is no file"):
        make().batch_job(["a"], journal=path)


def test_a_path_of_bytes(make: Any, journal: str) -> None:
    assert [text(each) for each in done(make().batch_job(["a"], journal=journal.encode()))] == ["A"]
