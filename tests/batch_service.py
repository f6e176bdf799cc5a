"""A fake service with files and batch jobs, after the vendor's Batch File API page. A script for `Loopback`.

service = BatchService()
with Loopback(service) as server:
    ...
    assert service.created == 1
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.file_service import FileService
from tests.loopback import Exchange, Received, reply_json

ROOT = "/compatible-mode/v1/"
PATHS = (f"{ROOT}files", f"{ROOT}batches")
Line = dict[str, Any]
USAGE = {"prompt_tokens": 26, "completion_tokens": 35, "total_tokens": 61}
CREATED = 1742303743


def answered(line: Line) -> Line:
    """Return a result line that repeats the last message, in upper case."""
    text = line["body"]["messages"][-1]["content"].upper()
    return succeeded(line, {"role": "assistant", "content": text})


def succeeded(line: Line, message: Mapping[str, Any], finish: str = "stop", usage: Mapping[str, Any] = USAGE) -> Line:
    """Return a result line with this message, in the form of the vendor's sample."""
    id = line["custom_id"]
    choice = {"finish_reason": finish, "index": 0, "message": dict(message)}
    body = {"created": CREATED, "usage": dict(usage), "model": line["body"]["model"], "id": f"chatcmpl-{id}",
            "choices": [choice], "object": "chat.completion"}  # fmt: skip
    return {"id": f"c308ef7f-{id}", "custom_id": id,
            "response": {"status_code": 200, "request_id": f"c308ef7f-{id}", "body": body}, "error": None}  # fmt: skip


def failed(line: Line, code: str, message: str) -> Line:
    """Return the result line of a failed input, in the form of the vendor's field table."""
    return {"id": None, "custom_id": line["custom_id"], "response": None, "error": {"code": code, "message": message}}


@dataclass
class BatchService:
    """The service.

    Attributes:
        answer: returns the result line of an input line.
        polls: number of polls until a job ends.
        ends: final state of jobs. Unless "completed", they process only `processed` lines.
        lose: names of requests ("create", "cancel") that are performed, but whose reply is lost, once each.
        refuse: queries that the list of jobs rejects.
        late: number of list requests that do not show the newest job yet.
        reverse: whether results are in reverse order.
        files: stores inputs and results.
        lists_all: whether the list of jobs ignores its queries.
        outages: number of polls answered with 503.
        failures: replies (status, body and perhaps headers) to the creation of jobs, once each.
        jobs: all jobs, in the order of their creation.
    """

    answer: Callable[[Line], Line] = answered
    polls: int = 1
    ends: str = "completed"
    processed: int = 1_000_000
    errors: Any = None
    lose: list[str] = field(default_factory=list)
    refuse: list[str] = field(default_factory=list)
    late: int = 0
    lists_all: bool = False
    outages: int = 0
    reverse: bool = True
    files: FileService = field(default_factory=FileService)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    failures: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._polled: dict[str, int] = {}

    @property
    def created(self) -> int:
        """Return the number of jobs."""
        return len(self.jobs)

    @property
    def uploads(self) -> list[str]:
        """Return the names of the input files."""
        return [file["filename"] for file in self.files.stored.values() if file["purpose"] == "batch"]

    def lines(self, id: str) -> list[Line]:
        """Return the lines of a file."""
        return [json.loads(line) for line in self.files.contents[id].splitlines()]

    def __call__(self, exchange: Exchange) -> None:
        url = urlsplit(exchange.request.path)
        kind, *rest = url.path.removeprefix(ROOT).split("/")
        if kind == "files":
            self.files(exchange)
            return
        with self._lock:
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            name, answer = self._routed(exchange.request, rest, query)
            is_lost = name in self.lose
            if is_lost:
                self.lose.remove(name)
        if is_lost:
            exchange.close()
        else:
            answer(exchange)

    def _routed(
        self, request: Received, rest: list[str], query: Mapping[str, str]
    ) -> tuple[str, Callable[[Exchange], None]]:
        """Perform a request. Return its name, and the reply."""
        if not rest and request.method == "POST":
            if self.failures:
                return "create", reply_json(*self.failures.pop(0))
            return "create", reply_json(200, self._create(json.loads(request.body)))
        if not rest:
            return "list", self._list(query)
        if self.outages and request.method == "GET":
            self.outages -= 1
            return "job", _refused(503, "ServiceUnavailable", "busy")
        job = next((job for job in self.jobs if job["id"] == rest[0]), None)
        if job is None:
            return "job", _refused(404, "BatchNotFound", f"No such batch: {rest[0]}")
        if rest[1:] == ["cancel"]:
            if job["status"] not in ("validating", "in_progress"):
                return "cancel", _refused(409, "InvalidState", "the batch has ended")
            job["status"] = "cancelling"
            return "cancel", reply_json(200, job)
        return "job", reply_json(200, self._poll(job))

    def _create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        job: dict[str, Any] = {
            "id": f"batch_{len(self.jobs)}", "object": "batch", "endpoint": body["endpoint"], "errors": None,
            "input_file_id": body["input_file_id"], "completion_window": body["completion_window"],
            "status": "validating", "output_file_id": None, "error_file_id": None, "created_at": CREATED,
            "request_counts": {"total": 0, "completed": 0, "failed": 0}, "metadata": body.get("metadata"),
        }  # fmt: skip
        self.jobs.append(job)
        return job

    def _list(self, query: Mapping[str, str]) -> Callable[[Exchange], None]:
        for name in self.refuse:
            if name in query:
                return _refused(400, "InvalidParameter", f"unknown query {name}")
        is_late, self.late = self.late > 0, max(self.late - 1, 0)
        jobs = [
            job
            for job in (self.jobs[:-1] if is_late else self.jobs)
            if self.lists_all
            or (
                query.get("input_file_ids", job["input_file_id"]) == job["input_file_id"]
                and query.get("ds_name", "") in job["metadata"]["ds_name"]
            )
        ]
        return reply_json(200, {"object": "list", "data": jobs, "has_more": False})

    def _poll(self, job: dict[str, Any]) -> dict[str, Any]:
        polled = self._polled[job["id"]] = self._polled.get(job["id"], 0) + 1
        if job["status"] in ("validating", "in_progress", "cancelling"):
            if polled < self.polls:
                job["status"] = "cancelling" if job["status"] == "cancelling" else "in_progress"
            else:
                self._end(job)
        return job

    def _end(self, job: dict[str, Any]) -> None:
        job["status"] = "cancelled" if job["status"] == "cancelling" else self.ends
        if job["status"] == "failed":
            job["errors"] = self.errors
            return
        lines = self.lines(job["input_file_id"])
        if job["status"] != "completed":
            lines = lines[: self.processed]
        results = [self.answer(line) for line in lines]
        if self.reverse:
            results.reverse()
        good = [line for line in results if not line["error"]]
        bad = [line for line in results if line["error"]]
        job["request_counts"] = {"total": len(lines), "completed": len(good), "failed": len(bad)}
        job["output_file_id"] = self._stored(good, job, "output")
        job["error_file_id"] = self._stored(bad, job, "error")

    def _stored(self, lines: list[Line], job: Mapping[str, Any], kind: str) -> str | None:
        if not lines:
            return None
        content = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines).encode()
        return self.files.add(f"{kind}.jsonl", content, f"batch_{kind}")


def _refused(status: int, code: str, message: str) -> Callable[[Exchange], None]:
    return reply_json(status, {"error": {"message": message, "type": "invalid_request_error", "code": code}})
