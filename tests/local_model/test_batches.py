"""Batch jobs of the local model: states, files, and answers equal to those of live calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from local_model.batches import BATCHES, Batches
from local_model.files import FileStore

CHAT = "/v1/chat/completions"
LINE = '{"custom_id":"%s","method":"POST","url":"/v1/chat/completions","body":{"model":"qwen-plus","messages":[]}}\n'
ANSWER = {"id": "a", "choices": []}


class Jobs:
    """Batch jobs whose requests are answered by `ask`."""

    def __init__(self, ask: Callable[[Mapping[str, Any]], tuple[int, dict[str, Any]]]) -> None:
        self.files = FileStore()
        self.batches = Batches(self.files, ask)

    def create(self, content: str = LINE % "x", **body: Any) -> dict[str, Any]:
        file = self.files.add("in.jsonl", content.encode(), "batch")
        given = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", "metadata": {"ds_name": "n1"}}
        return self.call("POST", "", given | body)

    def call(self, method: str, path: str, body: Any = None, status: int = 200) -> dict[str, Any]:
        reply = self.batches.reply(method, BATCHES + path, body)
        assert reply is not None
        assert reply.status == status, reply.content
        assert isinstance(reply.content, dict)
        return reply.content

    def ended(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return the job once it has ended."""
        for _ in range(500):
            found = self.call("GET", f"/{job['id']}")
            if found["status"] in ("completed", "failed", "cancelled"):
                return found
            time.sleep(0.01)
        raise AssertionError(found)

    def content(self, id: str) -> str:
        file = self.files.get(id)
        assert file is not None
        return file.content.decode()


def test_answers_and_errors_are_in_two_files() -> None:
    """A rejected request is a failed line."""
    answers = iter([(200, ANSWER), (400, {"error": {"code": "invalid_parameter_error", "message": "no"}})])
    jobs = Jobs(lambda body: next(answers))
    job = jobs.ended(jobs.create(LINE % "x" + LINE % "y"))
    assert job["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    assert '"custom_id": "x"' in jobs.content(job["output_file_id"])
    assert '"code": "invalid_parameter_error"' in jobs.content(job["error_file_id"])
    assert job["completed_at"] >= job["in_progress_at"] >= job["created_at"]


def test_the_test_model_answers_without_inference() -> None:
    jobs = Jobs(lambda body: pytest.fail("it was asked"))
    line = (LINE % "x").replace(CHAT, "/v1/chat/ds-test")
    job = jobs.ended(jobs.create(line, endpoint="/v1/chat/ds-test"))
    assert "This is a test result." in jobs.content(job["output_file_id"])


def test_cancel_keeps_completed_results() -> None:
    """The current request is finished. A job that has ended cannot be cancelled."""
    runs, goes_on = threading.Event(), threading.Event()

    def ask(body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        runs.set()
        assert goes_on.wait(5)
        return 200, ANSWER

    jobs = Jobs(ask)
    job = jobs.create(LINE % "x" + LINE % "y")
    assert runs.wait(5)
    assert jobs.call("POST", f"/{job['id']}/cancel")["status"] == "cancelling"
    goes_on.set()
    ended = jobs.ended(job)
    assert (ended["status"], ended["request_counts"]["completed"]) == ("cancelled", 1)
    jobs.call("POST", f"/{job['id']}/cancel", status=400)


def test_list_of_jobs() -> None:
    """By input file, part of the name and status, the newest first, in pages."""
    jobs = Jobs(lambda body: (200, ANSWER))
    first, second = jobs.create(), jobs.create(metadata={"ds_name": "n2"})
    jobs.ended(second)
    for query, expected in {
        "": [second, first],
        f"?input_file_ids={first['input_file_id']}": [first],
        "?ds_name=n2": [second],
        "?ds_name=n&status=completed": [second, first],
        "?status=failed": [],
        f"?after={second['id']}": [first],
        "?limit=1": [second],
    }.items():
        found = jobs.call("GET", query)
        assert [job["id"] for job in found["data"]] == [job["id"] for job in expected], query
    assert found["has_more"] is True
    jobs.call("GET", "/batch_none", status=404)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nonsense\n", "line 1 is not a JSON object"),
        ((LINE % "x").replace("/v1/chat", "/v1/other"), "line 1 is not a POST to"),
        (LINE % "x" * 2, "a custom_id is not unique"),
        (LINE % "x" + (LINE % "y").replace("qwen-plus", "qwen-max"), "more than one model"),
        ("", "no lines"),
    ],
    ids=["json", "url", "twice", "models", "empty"],
)
def test_an_invalid_file_fails_the_job(content: str, said: str) -> None:
    jobs = Jobs(lambda body: (200, ANSWER))
    job = jobs.ended(jobs.create(content))
    assert job["status"] == "failed"
    assert said in job["errors"]["data"][0]["message"]


@pytest.mark.parametrize("body", [{"endpoint": "/v1/x"}, {"completion_window": "1h"}, {"input_file_id": "none"}])
def test_invalid_jobs(body: dict[str, Any]) -> None:
    jobs = Jobs(lambda body: (200, ANSWER))
    file = jobs.files.add("in.jsonl", b"", "batch")
    given = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    jobs.call("POST", "", given | body, status=400)


@pytest.mark.slow
def test_a_job_runs_on_the_model(local_model_url: str, tmp_path: Any) -> None:
    """Its answers equal those of live calls, also with thinking."""
    from langchain_modelstudio import ChatModelStudio

    llm = ChatModelStudio(model="qwen-plus", base_url=local_model_url, temperature=0, max_tokens=16, seed=1)
    for thinks in (False, True):
        job = llm.batch_job(["What is tea?"], journal=tmp_path / f"{thinks}.db", enable_thinking=thinks)
        job.submit()
        job.wait(poll_interval=0.1, timeout=60)
        [found] = job.results()
        live = llm.invoke("What is tea?", enable_thinking=thinks)
        assert found.text == live.text
        assert bool(found.additional_kwargs) == thinks
        assert found.usage_metadata["output_tokens"] == live.usage_metadata["output_tokens"]
