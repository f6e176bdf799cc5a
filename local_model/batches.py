"""Run batch jobs in Model Studio's formats on the local chat model, one request at a time.

Source of the formats: the vendor's Batch File API page. If a line of the input is invalid, the whole job fails. If the
model rejects a request, only its line fails.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from local_model.files import FileStore, Reply
from local_model.relay import Address
from local_model.retrieval import InvalidRequest, failure

BATCHES = "/v1/batches"
_CHAT, _TEST = "/v1/chat/completions", "/v1/chat/ds-test"
_CANCELLABLE = ("validating", "in_progress")
_TEST_USAGE = {"prompt_tokens": 20, "completion_tokens": 6, "total_tokens": 26}
_MAX_PAGE = 100
_TIMEOUT = 600.0  # seconds for one answer
_HOURS = {"h": 1, "d": 24}
_MIN_HOURS, _MAX_HOURS = 24, 336

Ask = Callable[[Mapping[str, Any]], tuple[int, dict[str, Any]]]


@dataclass
class _Job:
    endpoint: str
    input_file_id: str
    completion_window: str
    metadata: dict[str, Any]
    id: str = field(default_factory=lambda: f"batch_{uuid4()}")
    status: str = "validating"
    created_at: int = field(default_factory=lambda: int(time.time()))
    total: int = 0
    completed: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: dict[str, Any] | None = None
    times: dict[str, int] = field(default_factory=dict)

    def set_status(self, status: str) -> None:
        self.status = status
        self.times[f"{status}_at"] = int(time.time())

    def to_json(self) -> dict[str, Any]:
        names = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        counts = {"total": self.total, "completed": self.completed, "failed": self.failed}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": self.errors,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            **{f"{name}_at": self.times.get(f"{name}_at") for name in names},
            "request_counts": counts,
            "metadata": self.metadata,
        }


class Batches:
    """The batch jobs of one server, in the order of their creation.

    Args:
        files: stores inputs and results.
        ask: sends the body of a chat request, and returns the status and the response.
    """

    def __init__(self, files: FileStore, ask: Ask) -> None:
        self._files = files
        self._ask = ask
        self._jobs: dict[str, _Job] = {}
        self._queue: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="local-model-batches", daemon=True).start()

    def reply(self, method: str, path: str, body: Any) -> Reply | None:
        """Return the response to a request, or None if this class does not handle the path.

        Args:
            method: GET or POST.
            path: with the query, without `/compatible-mode`.
            body: the decoded JSON of the request.
        """
        parts = urlsplit(path)
        if parts.path != BATCHES and not parts.path.startswith(f"{BATCHES}/"):
            return None
        try:
            id, _, action = parts.path.removeprefix(BATCHES).strip("/").partition("/")
            if not id and method == "POST":
                return Reply(200, self._create(body).to_json())
            if not id:
                return Reply(200, self._list({name: values[0] for name, values in parse_qs(parts.query).items()}))
            job = self._jobs.get(id)
            if job is None:
                return Reply(404, failure(BATCHES, f"No such batch: {id}"))
            if action == "cancel":
                if job.status not in _CANCELLABLE:
                    raise InvalidRequest(f"the batch {id} is {job.status}, and cannot be cancelled")
                job.set_status("cancelling")
            return Reply(200, job.to_json())
        except InvalidRequest as error:
            return Reply(400, failure(BATCHES, str(error)))

    def _create(self, body: Any) -> _Job:
        given = body if isinstance(body, dict) else {}
        file = self._files.get(str(given.get("input_file_id")))
        if file is None or file.purpose != "batch":
            raise InvalidRequest(f"input_file_id is {given.get('input_file_id')!r}, not a file with the purpose batch")
        if given.get("endpoint") not in (_CHAT, _TEST):
            raise InvalidRequest(f"endpoint is {given.get('endpoint')!r}, not {_CHAT} or {_TEST}")
        window = str(given.get("completion_window"))
        hours = int(window[:-1]) * _HOURS.get(window[-1], 0) if window[:-1].isdecimal() else 0
        if not _MIN_HOURS <= hours <= _MAX_HOURS:
            raise InvalidRequest(f"completion_window is {window!r}, not 24h to 336h or 1d to 14d")
        metadata = given.get("metadata")
        job = _Job(given["endpoint"], file.id, window, metadata if isinstance(metadata, dict) else {})
        self._jobs[job.id] = job
        self._queue.put(job)
        return job

    def _list(self, query: Mapping[str, str]) -> dict[str, Any]:
        ids = query["input_file_ids"].split(",") if "input_file_ids" in query else None
        states = query["status"].split(",") if "status" in query else None
        jobs = [
            job
            for job in reversed(self._jobs.values())
            if (ids is None or job.input_file_id in ids)
            and (states is None or job.status in states)
            and query.get("ds_name", "") in str(job.metadata.get("ds_name", ""))
        ]
        known = [job.id for job in jobs]
        begin = known.index(query["after"]) + 1 if query.get("after") in known else 0
        limit = query.get("limit", "20")
        if not limit.isdecimal() or not 1 <= int(limit) <= _MAX_PAGE:
            raise InvalidRequest(f"limit is {limit!r}, not 1 to {_MAX_PAGE}")
        data = [job.to_json() for job in jobs[begin : begin + int(limit)]]
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        more = begin + int(limit) < len(jobs)
        return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}

    # ---------------------------------------------------------------- worker thread

    def _work(self) -> None:
        while True:
            self._run(self._queue.get())

    def _run(self, job: _Job) -> None:
        file = self._files.get(job.input_file_id)
        try:
            lines = _lines(b"" if file is None else file.content, job.endpoint)
        except InvalidRequest as error:
            job.errors = {"data": [{"code": "invalid_file", "message": str(error)}]}
            job.set_status("failed")
            return
        job.total = len(lines)
        results: dict[str, list[dict[str, Any]]] = {"output": [], "error": []}
        if job.status == "validating":
            job.set_status("in_progress")
        for line in lines:
            if job.status != "in_progress":
                break
            result = self._result(line, job.endpoint)
            results["error" if result["error"] else "output"].append(result)
            job.completed, job.failed = len(results["output"]), len(results["error"])
        cancelled = job.status == "cancelling"
        if not cancelled:
            job.set_status("finalizing")
        job.output_file_id = self._stored(job, "output", results["output"])
        job.error_file_id = self._stored(job, "error", results["error"])
        job.set_status("cancelled" if cancelled else "completed")

    def _result(self, line: Mapping[str, Any], endpoint: str) -> dict[str, Any]:
        id = str(uuid4())
        status, answer = (200, _test_answer(line["body"])) if endpoint == _TEST else self._ask(line["body"])
        if status == 200:
            response = {"status_code": status, "request_id": id, "body": answer}
            return {"id": id, "custom_id": line["custom_id"], "response": response, "error": None}
        details = answer.get("error")
        details = details if isinstance(details, dict) else answer
        message = details.get("message") or f"HTTP status {status}"
        error = {"code": details.get("code") or "InternalError", "message": message}
        return {"id": id, "custom_id": line["custom_id"], "response": None, "error": error}

    def _stored(self, job: _Job, kind: str, results: list[dict[str, Any]]) -> str | None:
        if not results:
            return None
        content = "".join(json.dumps(result, ensure_ascii=False) + "\n" for result in results)
        return self._files.add(f"{job.id}_{kind}.jsonl", content.encode(), f"batch_{kind}").id


def asker(address: Address, path: str, api_key: str | None) -> Ask:
    """Return a function that sends a chat request without streaming, and returns the status and the response."""
    headers = {"content-type": "application/json"} | ({} if api_key is None else {"authorization": f"Bearer {api_key}"})

    def ask(body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        whole = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
        connection = HTTPConnection(*address, timeout=_TIMEOUT)
        try:
            connection.request("POST", path, json.dumps(whole), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
            return response.status, answer if isinstance(answer, dict) else {}
        except (OSError, HTTPException, ValueError) as error:
            return 500, {"code": "InternalError", "message": str(error)}
        finally:
            connection.close()

    return ask


def _lines(content: bytes, endpoint: str) -> list[dict[str, Any]]:
    """Return the lines of an input file. Raises InvalidRequest for an invalid line."""
    lines: list[dict[str, Any]] = []
    for number, data in enumerate(content.splitlines(), 1):
        try:
            line = json.loads(data)
        except ValueError:
            line = None
        if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str):
            raise InvalidRequest(f"line {number} is not a JSON object with a custom_id")
        if line.get("method") != "POST" or line.get("url") != endpoint or not isinstance(line.get("body"), dict):
            raise InvalidRequest(f"line {number} is not a POST to {endpoint} with a body")
        lines.append(line)
    if not lines:
        raise InvalidRequest("the file has no lines")
    if len({line["custom_id"] for line in lines}) < len(lines):
        raise InvalidRequest("a custom_id is not unique")
    if len({line["body"].get("model") for line in lines}) > 1:
        raise InvalidRequest("the lines have more than one model")
    return lines


def _test_answer(body: Mapping[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "This is a test result."}
    return {
        "id": f"chatcmpl-{uuid4()}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _TEST_USAGE,
    }
