"""The public class for batch jobs, with the sync and async drivers of its flows. Change both versions together."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from modelstudio_core.batches.flow import JobFlow
from modelstudio_core.batches.journal import BatchStatus, Journal, differences
from modelstudio_core.batches.lines import (
    MAX_FILE_BYTES,
    MAX_LINES,
    LineWriter,
    input_lines,
    read_answer,
    read_usage,
)
from modelstudio_core.batches.requests import batches_url, check_window
from modelstudio_core.batches.steps import Download, Find, Flow, Perform, Report, Request, Sleep, Step, Upload
from modelstudio_core.errors import ConfigurationError, ModelStudioError
from modelstudio_core.files import Files
from modelstudio_core.http.client import Client
from modelstudio_core.types import ChatResult, Message, Usage

Answer = TypeVar("Answer")
T = TypeVar("T")
_PURPOSE = "batch"
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Adapter(Generic[Answer]):
    """Conversions between a framework and the core.

    Attributes:
        messages: converts a prompt to messages.
        answer: converts a result to the framework's response.
        error: converts a core error to the adapter's error.
        errors: returns a context manager that raises core errors as the adapter's errors.
    """

    messages: Callable[[Any], tuple[Message, ...]]
    answer: Callable[[ChatResult], Answer]
    error: Callable[[ModelStudioError], ModelStudioError]
    errors: Callable[[], AbstractContextManager[None]]


class BatchJob(Generic[Answer]):
    """A batch job: many prompts at half the price, answered within `completion_window`. Create it with `llm.batch_job`.

    Resume after a crash by creating the job again with the same journal. Methods that send requests have async
    versions.

    All methods raise ModelStudioError, and ConfigurationError if another process is using the journal.
    """

    def __init__(
        self,
        client: Client,
        files: Files,
        writer: LineWriter,
        adapter: Adapter[Answer],
        prompts: Iterable[Any] | None,
        *,
        journal: str | os.PathLike[str],
        settings: Iterable[Mapping[str, Any] | None] | None = None,
        lines_per_file: int = MAX_LINES,
        bytes_per_file: int = MAX_FILE_BYTES,
        completion_window: str = "24h",
    ) -> None:
        """Open or create the journal. Send nothing, and read no prompts yet."""
        for name, value in (("lines_per_file", lines_per_file), ("bytes_per_file", bytes_per_file)):
            if value < 1:
                raise ConfigurationError(f"{name}={value} must be at least 1")
        check_window(completion_window)
        if isinstance(prompts, str | bytes):
            raise ConfigurationError("prompts is a single text: pass a list or another iterable of prompts")
        for name, given in (("prompts", prompts), ("settings", settings)):
            if isinstance(given, Mapping) or not isinstance(given, Iterable | None):
                raise ConfigurationError(f"{name}={given!r:.80} is not an iterable with one entry per prompt")
        if prompts is None and settings is not None:
            raise ConfigurationError("settings= needs prompts=: pass both, or the journal alone")
        if prompts is None and not os.path.exists(journal):
            raise ConfigurationError(f"journal={os.fspath(journal)!r} does not exist: pass prompts to start a job")
        self._client = client
        self._client_without_retries = Client(replace(client.config, max_retries=0), client.transport)
        self._files = files
        self._adapter = adapter
        request = writer.request()
        location = {"base_url": batches_url(client.config).removesuffix("/batches")}
        self._journal = Journal(journal)
        limits = [min(lines_per_file, MAX_LINES), min(bytes_per_file, MAX_FILE_BYTES)]
        _bind(self._journal, request | location, limits, completion_window)
        lines = None if prompts is None else input_lines(prompts, settings, writer, adapter.messages)
        self._flow = JobFlow(self._journal, client.config, lines)

    @property
    def journal(self) -> str:
        """Return the path of the journal."""
        return self._journal.path

    @property
    def status(self) -> BatchStatus:
        """Return the status as of the last poll (`wait`, `refresh`). Sends nothing."""
        return self._journal.status()

    @property
    def usage(self) -> Usage:
        """Return the total tokens of all answers so far. Reads all of them from disk, so it may be slow."""
        totals = [0] * 5
        for line in self._journal.answers():
            totals = [total + count for total, count in zip(totals, read_usage(line), strict=True)]
        input_tokens, output_tokens, total_tokens, reasoning, cached = totals
        return Usage(input_tokens, output_tokens, total_tokens, reasoning, cached)

    def cost(self, *, input: float, output: float) -> float:
        """Return the price of all answers so far.

        Args:
            input: batch price per million input tokens, half the price of live calls.
            output: batch price per million output tokens.
        """
        usage = self.usage
        return ((usage.input_tokens or 0) * input + (usage.output_tokens or 0) * output) / _MILLION

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    # ---------------------------------------------------------------- requests

    def submit(self) -> None:
        """Write the prompts to the journal, upload them, and submit what is not submitted yet.

        Prompts are read once, and not held in memory.

        Raises:
            ConfigurationError: if the journal has other prompts. Also, before anything is uploaded, for a prompt that
                cannot be sent or whose line exceeds 6 MB; the message has its position.
        """
        self._finish(self._flow.submit())

    async def asubmit(self) -> None:
        """Async version of `submit`."""
        await self._afinish(self._flow.submit())

    def refresh(self) -> BatchStatus:
        """Poll the service once, download the results of jobs that have ended, and return the status."""
        self._finish(self._flow.refresh())
        return self.status

    async def arefresh(self) -> BatchStatus:
        """Async version of `refresh`."""
        await self._afinish(self._flow.refresh())
        return self.status

    def wait(
        self, *, progress: bool = False, poll_interval: float | None = None, timeout: float | None = None
    ) -> BatchStatus:
        """Poll until all results are downloaded, and return the status.

        Args:
            progress: show a progress bar; needs the package tqdm.
            poll_interval: seconds between polls. Default: 5, increasing to 120.
            timeout: seconds until TimeoutError. The job continues at the service. Default: no limit.
        """
        with _progress(self, progress) as show:
            for _ in self._run(self._flow.wait(poll_interval, timeout)):
                show()
        return self.status

    async def await_done(
        self, *, progress: bool = False, poll_interval: float | None = None, timeout: float | None = None
    ) -> BatchStatus:
        """Async version of `wait`. Its name differs, because `await` is a Python keyword."""
        with _progress(self, progress) as show:
            async for _ in self._arun(self._flow.wait(poll_interval, timeout)):
                show()
        return self.status

    def cancel(self) -> None:
        """Cancel the jobs that have not ended. Answers completed by then are billed, and part of the results."""
        self._finish(self._flow.cancel())

    async def acancel(self) -> None:
        """Async version of `cancel`."""
        await self._afinish(self._flow.cancel())

    def retry_failed(self) -> int:
        """Submit inputs again that have a retryable error, or were not processed. Return their number.

        Call `wait` for their results. Raises ConfigurationError if the job has not ended.
        """
        return self._finish(self._flow.retry())

    async def aretry_failed(self) -> int:
        """Async version of `retry_failed`."""
        return await self._afinish(self._flow.retry())

    # ---------------------------------------------------------------- results

    def results(self) -> Iterator[Answer | ModelStudioError]:
        """Yield the answer or error of each input, in order. Waits for all results first."""
        if not self.status.ended:
            self.wait()
        for _, line in self._journal.results():
            yield self._answer(line)

    async def aresults(self) -> AsyncIterator[Answer | ModelStudioError]:
        """Async version of `results`."""
        if not self.status.ended:
            await self.await_done()
        for position, line in self._journal.results():
            yield self._answer(line)
            if position % 100 == 0:
                await self._client.transport.asleep(0)

    def as_completed(
        self, *, poll_interval: float | None = None, timeout: float | None = None
    ) -> Iterator[tuple[int, Answer | ModelStudioError]]:
        """Yield (position, answer or error) of the inputs, one file at a time as its job ends; see `wait`."""
        seen: set[int] = set()
        yield from self._collected(seen)
        if not self.status.ended:
            for _ in self._run(self._flow.wait(poll_interval, timeout)):
                yield from self._collected(seen)

    async def aas_completed(
        self, *, poll_interval: float | None = None, timeout: float | None = None
    ) -> AsyncIterator[tuple[int, Answer | ModelStudioError]]:
        """Async version of `as_completed`."""
        seen: set[int] = set()
        for found in self._collected(seen):
            yield found
        if not self.status.ended:
            async for _ in self._arun(self._flow.wait(poll_interval, timeout)):
                for found in self._collected(seen):
                    yield found

    def _collected(self, seen: set[int]) -> Iterator[tuple[int, Answer | ModelStudioError]]:
        for file in self._journal.files():
            if file.collected and file.number not in seen:
                seen.add(file.number)
                for position, line in self._journal.results(file):
                    yield position, self._answer(line)

    def _answer(self, line: bytes) -> Answer | ModelStudioError:
        found = read_answer(line)
        if isinstance(found, ModelStudioError):
            return self._adapter.error(found)
        return self._adapter.answer(found)

    # ---------------------------------------------------------------- drivers

    def _finish(self, flow: Flow[T]) -> T:
        result: list[T] = []
        for _ in self._run(flow, result):
            pass
        return result[0]

    async def _afinish(self, flow: Flow[T]) -> T:
        result: list[T] = []
        async for _ in self._arun(flow, result):
            pass
        return result[0]

    def _run(self, flow: Flow[T], result: list[T] | None = None) -> Iterator[None]:
        """Perform the steps of a flow. Yield at each Report."""
        with self._adapter.errors():
            try:
                step = next(flow)
                while True:
                    if type(step) is Report:
                        yield
                    try:
                        done = self._perform(step)
                    except ModelStudioError as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(done)
            except StopIteration as end:
                if result is not None:
                    result.append(end.value)
            finally:
                flow.close()

    async def _arun(self, flow: Flow[T], result: list[T] | None = None) -> AsyncIterator[None]:
        """Async version of `_run`."""
        with self._adapter.errors():
            try:
                step = next(flow)
                while True:
                    if type(step) is Report:
                        yield
                    try:
                        done = await self._aperform(step)
                    except ModelStudioError as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(done)
            except StopIteration as end:
                if result is not None:
                    result.append(end.value)
            finally:
                flow.close()

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Request):
            return (self._client_without_retries if step.once else self._client).request(
                step.url, step.call, step.decode
            )
        if isinstance(step, Upload):
            return self._files.upload(step.path, purpose=_PURPOSE).id
        if isinstance(step, Find):
            for file in self._files.list(purpose=_PURPOSE):
                if file.filename == step.name and file.bytes in (step.size, None):
                    return file.id
        elif isinstance(step, Download):
            self._files.content(step.id, to=step.path)
        elif isinstance(step, Perform):
            return self._client.transport.call(step.function)
        elif isinstance(step, Sleep):
            self._client.transport.sleep(step.seconds)
        return None

    async def _aperform(self, step: Step) -> Any:
        if isinstance(step, Request):
            return await (self._client_without_retries if step.once else self._client).arequest(
                step.url, step.call, step.decode
            )
        if isinstance(step, Upload):
            return (await self._files.aupload(step.path, purpose=_PURPOSE)).id
        if isinstance(step, Find):
            async for file in self._files.alist(purpose=_PURPOSE):
                if file.filename == step.name and file.bytes in (step.size, None):
                    return file.id
        elif isinstance(step, Download):
            await self._files.acontent(step.id, to=step.path)
        elif isinstance(step, Perform):
            return await self._client.transport.acall(step.function)
        elif isinstance(step, Sleep):
            await self._client.transport.asleep(step.seconds)
        return None


def _bind(journal: Journal, request: dict[str, Any], limits: list[int], window: str) -> None:
    """Store the settings in a new journal. Raises ConfigurationError if the journal has other settings."""
    with journal.transaction():
        stored = journal.fact("request")
        if stored is None:
            journal.set_fact("request", request)
            journal.set_fact("limits", limits)
            journal.set_fact("window", window)
    if stored is not None and stored != request:
        raise ConfigurationError(
            f"journal={journal.path!r} belongs to a job with other settings: {differences(stored, request)}. Use the "
            "same settings, or a new journal"
        )


@contextmanager
def _progress(job: BatchJob[Any], wanted: bool) -> Iterator[Callable[[], None]]:
    """Return a function that updates the progress bar of a job."""
    if not wanted:
        yield lambda: None
        return
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped]  # has no type hints
    except ImportError:
        with job._adapter.errors():
            raise ConfigurationError("progress=True needs tqdm: pip install tqdm") from None

    with tqdm(total=job.status.total, desc="Batch", unit="prompt") as bar:

        def show() -> None:
            status = job.status
            bar.total = status.total
            bar.set_postfix_str(status.state, refresh=False)
            bar.update(status.completed + status.failed - bar.n)

        yield show
