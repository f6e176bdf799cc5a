"""Submit, poll, cancel and collect batch jobs, as generators of steps that a sync or async driver in `job` performs.

The journal records each change at the service before and after the request. To avoid duplicates, a resumed job first
searches the service for what may already exist: a file by its name, a job by its input file and then its name.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, Final, TypeVar

from modelstudio_core.batches.journal import ENDED, File, Journal
from modelstudio_core.batches.lines import Group, Line
from modelstudio_core.batches.packer import Limits, Packer
from modelstudio_core.batches.requests import (
    batches_url,
    cancel_call,
    create_call,
    get_call,
    is_job_of,
    read_batch,
    read_batches,
    search_queries,
    update_file,
)
from modelstudio_core.batches.rows import rows_of, unprocessed_lines
from modelstudio_core.batches.steps import Download, Find, Flow, Perform, Report, Request, Sleep, Upload
from modelstudio_core.config import Config
from modelstudio_core.errors import (
    APIConnectionError,
    APIStatusError,
    BadRequestError,
    ConfigurationError,
    ModelStudioError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
)
from modelstudio_core.http.disk import poll_delays

logger = logging.getLogger("modelstudio_core")
T = TypeVar("T")

_CHUNK: Final = 1000  # inputs per transaction
_SEARCH_DELAYS: Final = (0.0, 1.0, 4.0)  # seconds before each search for a job whose creation got no reply
_CREATE_DELAYS: Final = (5.0, 15.0, 60.0, 60.0)  # seconds before creating a job again after a 429
_MAX_RETRY_AFTER: Final = 60.0  # not the 8 s of other requests: jobs are throttled for lack of capacity
_MAX_FAILED_POLLS: Final = 10  # in succession, because a wait may last days
_LOCK_SECONDS: Final = 10.0
_CONFLICT: Final = 409
_UNCERTAIN = (APIConnectionError, ServerError, ProtocolError)  # the service may have performed the request
FIRST_POLL_DELAY: Final = 5.0
MAX_POLL_DELAY: Final = 120.0  # the vendor advises less than one request per minute


class JobFlow:
    """Create the flows of one job.

    Args:
        journal: state of the job.
        config: host and region of the service.
        lines: the input lines; None to use those of the journal.
    """

    def __init__(self, journal: Journal, config: Config, lines: Iterator[Line] | None) -> None:
        self._journal = journal
        self._config = config
        self._lines = lines

    def submit(self) -> Flow[None]:
        """Write the inputs to the journal, and submit the files that are not submitted yet."""
        yield from self._locked(self._submit_all())

    def refresh(self) -> Flow[None]:
        """Poll all running jobs once, and collect the results of those that have ended."""
        yield from self._locked(self._refresh_all())

    def wait(self, interval: float | None, timeout: float | None) -> Flow[None]:
        """Refresh until all results are collected. Between polls, the journal is unlocked, so others can cancel()."""
        first, longest = (FIRST_POLL_DELAY, MAX_POLL_DELAY) if interval is None else (interval, interval)
        failures = 0
        for delay in poll_delays(inf if timeout is None else timeout, first=first, longest=longest):
            try:
                yield from self.refresh()
                failures = 0
            except ModelStudioError as error:
                failures += 1
                if not error.is_retryable or failures > _MAX_FAILED_POLLS:
                    raise
                logger.warning("Model Studio: polling the batch job failed, and is repeated: %s", error)
            yield Report()
            if self._journal.status().ended:
                return
            yield Sleep(delay)
        yield from self.refresh()
        yield Report()
        status = self._journal.status()
        if not status.ended:
            raise TimeoutError(
                f"the batch job has not ended after {timeout:g} s ({status.state}, {status.completed} of "
                f"{status.total} answered). It continues at the service: call wait() again"
            )

    def cancel(self) -> Flow[None]:
        """Cancel running jobs. Files not submitted yet are never submitted."""
        yield from self._locked(self._cancel_all())

    def retry(self) -> Flow[int]:
        """Submit the inputs with retryable errors again. Return their number."""
        return (yield from self._locked(self._retry()))

    def _locked(self, flow: Flow[T]) -> Flow[T]:
        """Perform a flow while holding the lock of the journal."""
        for delay in poll_delays(_LOCK_SECONDS, first=0.05, longest=0.5):
            if (lock := self._journal.lock()) is not None:
                break
            yield Sleep(delay)
        else:
            raise ConfigurationError(
                f"journal={self._journal.path!r} is in use: another process, thread or task is working on this job"
            )
        try:
            return (yield from flow)
        finally:
            lock.close()

    def _submit_all(self) -> Flow[None]:
        yield from self._write_inputs()
        for file in self._journal.files():
            if not file.is_submitted:
                yield from self._submit(file)
                yield Report()

    def _refresh_all(self) -> Flow[None]:
        files = self._journal.files()
        unsubmitted = sum(not file.is_submitted for file in files)
        if unsubmitted or not files:
            raise ConfigurationError(f"{unsubmitted} of {len(files)} files are not submitted: call submit() first")
        for file in files:
            if not file.collected:
                yield from self._refresh(file)

    def _cancel_all(self) -> Flow[None]:
        if not self._journal.fact("written"):
            return  # nothing was submitted; submit() may still add the rest of the inputs
        for file in self._journal.files():
            if file.collected:
                continue
            if file.batch_id is None and file.create_begun and (batch := (yield from self._find_job(file))):
                update_file(file, batch)
            if file.batch_id is None:
                file.state = "cancelled"
            elif file.state not in ENDED:
                url = batches_url(self._config, file.batch_id, "cancel")
                try:
                    update_file(file, (yield Request(url, cancel_call(), read_batch)))
                except APIStatusError as error:
                    if not isinstance(error, BadRequestError) and error.status_code != _CONFLICT:
                        raise
                    logger.info("Model Studio: batch job %s cannot be cancelled: %s", file.batch_id, error)
            self._save(file)
            yield from self._refresh(file)

    def _retry(self) -> Flow[int]:
        if not self._journal.status().ended:
            raise ConfigurationError("the batch job has not ended: call wait() before retry_failed()")
        yield from self._write_inputs()  # compares the prompts, if the caller passed them again
        count: int = yield Perform(self._regroup)
        yield from self._submit_all()
        return count

    # ---------------------------------------------------------------- writing

    def _write_inputs(self) -> Flow[None]:
        """Write the inputs to the journal. Those that it already has are compared instead."""
        written = self._journal.fact("written")
        if self._lines is None:
            if not written:
                raise ConfigurationError(
                    f"journal={self._journal.path!r} is incomplete: writing prompts was interrupted after "
                    f"{self._journal.count_inputs()}. Pass the same prompts again"
                )
            return
        lines, self._lines = self._lines, None
        known = self._journal.count_inputs()
        number: int | None = yield Perform(partial(_compare, lines, self._journal, known, complete=bool(written)))
        if written:
            return
        packer = Packer(self._journal.files(), self._file_limits())
        while number is not None:
            number = yield Perform(partial(self._write_chunk, lines, packer, number))
            yield Report()

    def _write_chunk(self, lines: Iterator[Line], packer: Packer, position: int) -> int | None:
        """Write the next inputs. Return the position after them, or None after the last."""
        rows = []
        for data, group in islice(lines, _CHUNK):
            rows.append((position, packer.assign(position, group, len(data) + 1), data))
            position += 1
        ended = len(rows) < _CHUNK
        if ended and not position:
            raise ConfigurationError("prompts is empty: pass at least one")
        with self._journal.transaction():
            self._journal.add_inputs(rows)
            self._journal.save(*packer.changed())
            if ended:
                self._journal.set_fact("written", 1)
        return None if ended else position

    def _file_limits(self) -> Limits:
        return Limits(*self._journal.fact("limits"))

    # ---------------------------------------------------------------- submitting

    def _submit(self, file: File) -> Flow[None]:
        if file.file_id is None:
            yield from self._upload(file)
        batch = (yield from self._find_job(file)) if file.create_begun else None
        if batch is None:
            file.create_begun = 1
            self._save(file)
            batch = yield from self._create(file)
        update_file(file, batch)
        self._save(file)

    def _upload(self, file: File) -> Flow[None]:
        name = f"{self._name(file)}.jsonl"
        if file.upload_begun:
            file.file_id = yield Find(name, file.bytes)
        if file.file_id is None:
            file.upload_begun = 1
            self._save(file)
            with tempfile.TemporaryDirectory(prefix="modelstudio-") as folder:
                path = Path(folder, name)
                yield Perform(partial(self._write_file, file, path))
                file.file_id = yield Upload(path)
        self._save(file)

    def _write_file(self, file: File, path: Path) -> None:
        with path.open("wb") as target:
            target.writelines(line + b"\n" for line in self._journal.lines_of(file))

    def _create(self, file: File) -> Flow[dict[str, Any]]:
        """Create a job.

        After a 429, wait and create it again. If a reply is lost, search for the job before creating it again.
        """
        url, window = batches_url(self._config), self._journal.fact("window")
        delays = iter(_CREATE_DELAYS)
        uncertain = 0
        while True:
            batch: dict[str, Any] | None
            try:
                batch = yield Request(url, create_call(file, self._name(file), window), read_batch, once=True)
            except RateLimitError as error:
                if (delay := next(delays, None)) is None:
                    raise
                yield Sleep(min(error.retry_after or delay, _MAX_RETRY_AFTER))
                continue
            except ModelStudioError as error:
                uncertain += 1
                if not _is_uncertain(error):  # the service rejected it
                    file.create_begun = 0
                    self._save(file)
                    raise
                failure = error
            else:
                return batch
            if (batch := (yield from self._find_job(file))) is not None:
                return batch
            if uncertain > self._config.max_retries:
                raise failure

    def _find_job(self, file: File) -> Flow[dict[str, Any] | None]:
        """Search repeatedly for a job that the service may still be creating."""
        for delay in _SEARCH_DELAYS:
            if delay:
                yield Sleep(delay)
            if (batch := (yield from self._search(file))) is not None:
                return batch
        return None

    def _search(self, file: File) -> Flow[dict[str, Any] | None]:
        """Search for the job of a file: by its input file, then by its name."""
        name = self._name(file)
        for query in search_queries(file, name):
            try:
                batches = yield Request(batches_url(self._config, query=query), get_call(), read_batches)
            except BadRequestError as error:
                logger.debug("batch jobs cannot be searched by %s: %s", ", ".join(query), error)
                continue
            if (found := next((batch for batch in batches if is_job_of(batch, file, name)), None)) is not None:
                return dict(found)
        return None

    def _name(self, file: File) -> str:
        return f"modelstudio-{self._journal.fact('name')}-{file.number}"

    def _save(self, file: File) -> None:
        with self._journal.transaction():
            self._journal.save(file)

    # ---------------------------------------------------------------- results

    def _refresh(self, file: File) -> Flow[None]:
        if file.batch_id is not None and file.state not in ENDED:
            try:
                update_file(file, (yield Request(batches_url(self._config, file.batch_id), get_call(), read_batch)))
            except NotFoundError as error:
                error.add_sentence(f"Batch job: {file.batch_id}. The service keeps jobs for 30 days.")
                raise
            self._save(file)
        if file.state in ENDED:
            yield from self._collect(file)

    def _collect(self, file: File) -> Flow[None]:
        """Download and store the results of a job. Inputs without a result get an error."""
        with tempfile.TemporaryDirectory(prefix="modelstudio-") as folder:
            paths: list[Path] = []
            if file.output_file_id is not None:
                paths.append(Path(folder, "output.jsonl"))
                yield Download(file.output_file_id, paths[0])
            if file.error_file_id is not None:
                path = Path(folder, "error.jsonl")
                try:
                    yield Download(file.error_file_id, path)
                    paths.append(path)
                # the vendor's pages disagree on whether error files can be downloaded
                except (BadRequestError, NotFoundError, PermissionDeniedError) as error:
                    logger.warning("Model Studio: cannot read the error file of batch job %s: %s", file.batch_id, error)
            yield Perform(partial(self._store_results, file, paths))

    def _store_results(self, file: File, paths: list[Path]) -> None:
        with self._journal.transaction():
            for path in paths:
                with path.open("rb") as lines:
                    self._journal.add_results(rows_of(lines, file))
            missing = list(self._journal.missing(file))
            self._journal.add_results(rows_of(unprocessed_lines(missing, file), file))
            file.collected = 1
            self._journal.save(file)

    def _regroup(self) -> int:
        """Move inputs with a retryable error to new files. Return their number."""
        files = {file.number: file for file in self._journal.files()}
        packer = Packer([replace(file, closed=1) for file in files.values()], self._file_limits())
        moved = []
        for position, number, size in self._journal.retryable():
            file = files[number]
            moved.append((position, packer.assign(position, Group.of_file(file.grp, file.endpoint), size + 1)))
        with self._journal.transaction():
            self._journal.move(moved)
            self._journal.save(*packer.changed())
        return len(moved)


def _compare(lines: Iterator[Line], journal: Journal, known: int, *, complete: bool) -> int:
    """Compare inputs with those of the journal, and return their number. Raises ConfigurationError if they differ."""
    mismatch = f"journal={journal.path!r} belongs to other prompts:"
    position = 0
    for position, (stored, line) in enumerate(zip(journal.input_lines(), lines, strict=False), 1):
        if stored != line[0]:
            raise ConfigurationError(f"{mismatch} prompts[{position - 1}] differs. Use a new journal for a new job")
    if position < known:
        raise ConfigurationError(f"{mismatch} it has {known}, not {position}. Use a new journal for a new job")
    if complete and next(lines, None) is not None:
        raise ConfigurationError(f"{mismatch} it has {known}, but more were passed. Use a new journal for a new job")
    return position


def _is_uncertain(error: ModelStudioError) -> bool:
    """Return True if the service may have performed a request despite this error."""
    return isinstance(error, _UNCERTAIN) or error.status_code in (408, 409)
