"""What a batch job does, written once for sync and async: generators of steps, which a driver in `job` performs.

Each step that changes something at the service is noted in the journal before and after. So whatever is repeated after
a kill is first looked for at the service: an uploaded file by its name, a job by its input file and its name.
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
    note,
    read_batch,
    read_batches,
    searches,
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
from modelstudio_core.http.disk import pauses

logger = logging.getLogger("modelstudio_core")
T = TypeVar("T")

_CHUNK: Final = 1000  # inputs per transaction
_LOOK_AGAIN: Final = (0.0, 1.0, 4.0)  # seconds before each search for a job whose creation got no reply
_THROTTLED: Final = (5.0, 15.0, 60.0, 60.0)  # seconds before a job is created again after 429
_FAILED_LOOKS: Final = 10  # in a row, of a wait that lasts a day or more
_LOCK_SECONDS: Final = 10.0
_CONFLICT: Final = 409
_UNCERTAIN = (APIConnectionError, ServerError, ProtocolError)  # the request may have been carried out
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 120.0  # the vendor advises to ask less than once a minute


class JobFlow:
    """The flows of one job.

    Args:
        journal: where it is kept.
        config: where it runs.
        lines: the lines of the inputs, if the caller gave any.
    """

    def __init__(self, journal: Journal, config: Config, lines: Iterator[Line] | None) -> None:
        self._journal = journal
        self._config = config
        self._lines = lines

    def submit(self) -> Flow[None]:
        """Write the inputs into the journal and submit all files that are not submitted."""
        yield from self._locked(self._submit_all())

    def refresh(self) -> Flow[None]:
        """Ask for the state of all jobs that are under way, and collect the results of those that have ended."""
        yield from self._locked(self._refresh_all())

    def wait(self, interval: float | None, timeout: float | None) -> Flow[None]:
        """Refresh until all results are there. The journal is free between the looks, for a cancel() elsewhere."""
        first, longest = (FIRST_PAUSE, LONGEST_PAUSE) if interval is None else (interval, interval)
        failures = 0
        for pause in pauses(inf if timeout is None else timeout, first=first, longest=longest):
            try:
                yield from self.refresh()
                failures = 0
            except ModelStudioError as error:
                failures += 1
                if not error.is_retryable or failures > _FAILED_LOOKS:
                    raise
                logger.warning("Model Studio: no look at the batch job, which goes on: %s", error)
            yield Report()
            if self._journal.status().ended:
                return
            yield Sleep(pause)
        yield from self.refresh()
        yield Report()
        status = self._journal.status()
        if not status.ended:
            raise TimeoutError(
                f"the batch job has not ended within {timeout:g} s: it is {status.state}, with {status.completed} of "
                f"{status.total} answers. It goes on at the service: wait() again, here or in another process"
            )

    def cancel(self) -> Flow[None]:
        """Cancel what has not ended. What was not submitted never is."""
        yield from self._locked(self._cancel_all())

    def retry(self) -> Flow[int]:
        """Send the inputs again whose errors are retryable. Return their number."""
        return (yield from self._locked(self._retry()))

    def _locked(self, flow: Flow[T]) -> Flow[T]:
        """Perform a flow while this process alone works on the journal."""
        for pause in pauses(_LOCK_SECONDS, first=0.05, longest=0.5):
            if (lock := self._journal.lock()) is not None:
                break
            yield Sleep(pause)
        else:
            raise ConfigurationError(
                f"journal={self._journal.path!r} is in use: another process, thread or task is working on this job"
            )
        try:
            return (yield from flow)
        finally:
            lock.close()

    def _submit_all(self) -> Flow[None]:
        yield from self._write()
        for file in self._journal.files():
            if not file.is_submitted:
                yield from self._submit(file)
                yield Report()

    def _refresh_all(self) -> Flow[None]:
        files = self._journal.files()
        waiting = sum(not file.is_submitted for file in files)
        if waiting or not files:
            raise ConfigurationError(f"{waiting} of {len(files)} files are not submitted: call submit() first")
        for file in files:
            if not file.collected:
                yield from self._refresh(file)

    def _cancel_all(self) -> Flow[None]:
        if not self._journal.fact("written"):
            return  # nothing was sent, and the rest of the inputs may follow
        for file in self._journal.files():
            if file.collected:
                continue
            if file.batch_id is None and file.create_begun and (batch := (yield from self._find_late(file))):
                note(file, batch)
            if file.batch_id is None:
                file.state = "cancelled"
            elif file.state not in ENDED:
                url = batches_url(self._config, file.batch_id, "cancel")
                try:
                    note(file, (yield Request(url, cancel_call(), read_batch)))
                except APIStatusError as error:
                    if not isinstance(error, BadRequestError) and error.status_code != _CONFLICT:
                        raise
                    logger.info("Model Studio: batch job %s is not cancelled: %s", file.batch_id, error)
            self._save(file)
            yield from self._refresh(file)

    def _retry(self) -> Flow[int]:
        if not self._journal.status().ended:
            raise ConfigurationError("the batch job has not ended: wait() first, then retry_failed()")
        yield from self._write()  # compares the inputs, if they were given again
        count: int = yield Perform(self._regroup)
        yield from self._submit_all()
        return count

    # ---------------------------------------------------------------- writing

    def _write(self) -> Flow[None]:
        """Write the inputs, or compare them with those of the journal, as far as they are there."""
        written = self._journal.fact("written")
        if self._lines is None:
            if not written:
                raise ConfigurationError(
                    f"journal={self._journal.path!r} holds {self._journal.count_inputs()} inputs, and writing them was "
                    "interrupted: pass the same prompts again, with the journal"
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
            rows.append((position, packer.place(position, group, len(data) + 1), data))
            position += 1
        ended = len(rows) < _CHUNK
        if ended and not position:
            raise ConfigurationError("there are no prompts: give at least one")
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
        batch = (yield from self._find_late(file)) if file.create_begun else None
        if batch is None:
            file.create_begun = 1
            self._save(file)
            batch = yield from self._create(file)
        note(file, batch)
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
        """Create a job once. Where it is uncertain whether the service did, the job is looked for first."""
        url, window = batches_url(self._config), self._journal.fact("window")
        throttled = iter(_THROTTLED)
        uncertain = 0
        while True:
            batch: dict[str, Any] | None
            try:
                batch = yield Request(url, create_call(file, self._name(file), window), read_batch, once=True)
            except RateLimitError as error:
                if (pause := next(throttled, None)) is None:
                    raise
                yield Sleep(error.retry_after or pause)
                continue
            except ModelStudioError as error:
                uncertain += 1
                if not _is_uncertain(error):  # the service refused it
                    file.create_begun = 0
                    self._save(file)
                    raise
                failure = error
            else:
                return batch
            if (batch := (yield from self._find_late(file))) is not None:
                return batch
            if uncertain > self._config.max_retries:
                raise failure

    def _find_late(self, file: File) -> Flow[dict[str, Any] | None]:
        """Look for a job that may be about to be created, more than once."""
        for pause in _LOOK_AGAIN:
            if pause:
                yield Sleep(pause)
            if (batch := (yield from self._find(file))) is not None:
                return batch
        return None

    def _find(self, file: File) -> Flow[dict[str, Any] | None]:
        """Look for the job of a file: by its input file, then by its name."""
        name = self._name(file)
        for query in searches(file, name):
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
                note(file, (yield Request(batches_url(self._config, file.batch_id), get_call(), read_batch)))
            except NotFoundError as error:
                error.message = (
                    f"{error.message} It was the batch job {file.batch_id}; the service keeps jobs for 30 days."
                )
                error.args = (error.message,)
                raise
            self._save(file)
        if file.state in ENDED:
            yield from self._collect(file)

    def _collect(self, file: File) -> Flow[None]:
        """Download the results of a job that has ended, and keep them, with an error for each input without one."""
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
                except (BadRequestError, NotFoundError, PermissionDeniedError) as error:  # the vendor's pages differ
                    logger.warning("Model Studio: the errors of batch job %s cannot be read: %s", file.batch_id, error)
            yield Perform(partial(self._keep, file, paths))

    def _keep(self, file: File, paths: list[Path]) -> None:
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
            moved.append((position, packer.place(position, Group.of_file(file.grp, file.endpoint), size + 1)))
        with self._journal.transaction():
            self._journal.move(moved)
            self._journal.save(*packer.changed())
        return len(moved)


def _compare(lines: Iterator[Line], journal: Journal, known: int, *, complete: bool) -> int:
    """Compare inputs with those that the journal has. Return their number. Raises ConfigurationError if they differ."""
    there = f"journal={journal.path!r} belongs to other inputs:"
    position = 0
    for position, (noted, line) in enumerate(zip(journal.input_lines(), lines, strict=False), 1):
        if noted != line[0]:
            raise ConfigurationError(f"{there} prompts[{position - 1}] differs. Use another journal for another job")
    if position < known:
        raise ConfigurationError(f"{there} it has {known}, and {position} were given. Use another journal")
    if complete and next(lines, None) is not None:
        raise ConfigurationError(f"{there} it has {known}, and more were given. Use another journal for another job")
    return position


def _is_uncertain(error: ModelStudioError) -> bool:
    """Return True if the service may have carried out a request that ended with this error."""
    return isinstance(error, _UNCERTAIN) or error.status_code in (408, 409)
