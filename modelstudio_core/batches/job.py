"""Batch jobs as callers see them, and the drivers of their flows: sync and async, twins in the same order of lines."""

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
    """What a framework contributes to its batch jobs.

    Attributes:
        messages: makes messages of one prompt.
        answer: makes the framework's answer of a result.
        error: makes the framework's error of a core error.
        errors: makes a context that raises core errors as the framework's own.
    """

    messages: Callable[[Any], tuple[Message, ...]]
    answer: Callable[[ChatResult], Answer]
    error: Callable[[ModelStudioError], ModelStudioError]
    errors: Callable[[], AbstractContextManager[None]]


class BatchJob(Generic[Answer]):
    """Many prompts as batch jobs: half the price, results within a day or more, one journal for all of it.

    `submit` and the other methods that reach the service have async twins. A process that is killed goes on where it
    was: make the job again with the same journal. Made by `batch_job` of a model.

    All methods raise ModelStudioError, and ConfigurationError while another process works on the same journal.
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
        """Open or create the journal. Nothing is sent, and no prompt is read yet."""
        for name, value in (("lines_per_file", lines_per_file), ("bytes_per_file", bytes_per_file)):
            if value < 1:
                raise ConfigurationError(f"{name}={value} leaves no room for a line")
        check_window(completion_window)
        if isinstance(prompts, str | bytes):
            raise ConfigurationError("prompts is one text: give a list, or any other iterable, of prompts")
        for name, given in (("prompts", prompts), ("settings", settings)):
            if isinstance(given, Mapping) or not isinstance(given, Iterable | None):
                raise ConfigurationError(f"{name}={given!r:.80} is no iterable with an entry for each prompt")
        if prompts is None and settings is not None:
            raise ConfigurationError("settings= are those of prompts: give both, or the journal alone")
        if prompts is None and not os.path.exists(journal):
            raise ConfigurationError(f"journal={os.fspath(journal)!r} does not exist: give prompts to begin a job")
        self._client = client
        self._once = Client(replace(client.config, max_retries=0), client.transport)
        self._files = files
        self._adapter = adapter
        request = writer.request()
        place = {"base_url": batches_url(client.config).removesuffix("/batches")}
        self._journal = Journal(journal)
        limits = [min(lines_per_file, MAX_LINES), min(bytes_per_file, MAX_FILE_BYTES)]
        _bind(self._journal, request | place, limits, completion_window)
        lines = None if prompts is None else input_lines(prompts, settings, writer, adapter.messages)
        self._flow = JobFlow(self._journal, client.config, lines)

    @property
    def journal(self) -> str:
        """Return the path of the journal."""
        return self._journal.path

    @property
    def status(self) -> BatchStatus:
        """Return where the job stands, as of the last look at the service (`wait`, `refresh`). Nothing is sent."""
        return self._journal.status()

    @property
    def usage(self) -> Usage:
        """Return the sum of the tokens of all answers that are there. Reads all answers, which takes its time."""
        totals = [0] * 5
        for line in self._journal.answers():
            totals = [total + count for total, count in zip(totals, read_usage(line), strict=True)]
        given, taken, total, reasoning, cached = totals
        return Usage(given, taken, total, reasoning, cached)

    def cost(self, *, input: float, output: float) -> float:
        """Return the price of all answers that are there.

        Args:
            input: price of a million input tokens in a batch job, which is half that of a live call.
            output: price of a million output tokens.
        """
        usage = self.usage
        return ((usage.input_tokens or 0) * input + (usage.output_tokens or 0) * output) / _MILLION

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    # ---------------------------------------------------------------- at the service

    def submit(self) -> None:
        """Write the prompts into the journal, upload them, and submit the jobs. Does nothing for what is submitted.

        Prompts are read once, and never held in memory. Where the journal has inputs, those that are given have to be
        the same. An input that cannot be sent, or makes a line of more than 6 MB, is a ConfigurationError that names
        its position, before anything is uploaded.
        """
        self._finish(self._flow.submit())

    async def asubmit(self) -> None:
        """The async twin of `submit`."""
        await self._afinish(self._flow.submit())

    def refresh(self) -> BatchStatus:
        """Ask the service once where the jobs stand, and fetch the results of those that have ended."""
        self._finish(self._flow.refresh())
        return self.status

    async def arefresh(self) -> BatchStatus:
        """The async twin of `refresh`."""
        await self._afinish(self._flow.refresh())
        return self.status

    def wait(
        self, *, progress: bool = False, poll_interval: float | None = None, timeout: float | None = None
    ) -> BatchStatus:
        """Wait until all results are there.

        Args:
            progress: show a progress bar, with the package tqdm.
            poll_interval: seconds between looks. Default: 5, growing to 120.
            timeout: seconds after which TimeoutError is raised. The job goes on. Default: no limit.
        """
        with _progress(self, progress) as show:
            for _ in self._run(self._flow.wait(poll_interval, timeout)):
                show()
        return self.status

    async def await_done(
        self, *, progress: bool = False, poll_interval: float | None = None, timeout: float | None = None
    ) -> BatchStatus:
        """The async twin of `wait`, under another name: `await` is a word of Python."""
        with _progress(self, progress) as show:
            async for _ in self._arun(self._flow.wait(poll_interval, timeout)):
                show()
        return self.status

    def cancel(self) -> None:
        """Cancel the jobs that have not ended. What is done by then is billed, and among the results."""
        self._finish(self._flow.cancel())

    async def acancel(self) -> None:
        """The async twin of `cancel`."""
        await self._afinish(self._flow.cancel())

    def retry_failed(self) -> int:
        """Submit the inputs again whose errors are retryable, or whose job expired or was cancelled before them.

        Returns their number. `wait` for their results as for the first. Raises ConfigurationError before the end.
        """
        return self._finish(self._flow.retry())

    async def aretry_failed(self) -> int:
        """The async twin of `retry_failed`."""
        return await self._afinish(self._flow.retry())

    # ---------------------------------------------------------------- results

    def results(self) -> Iterator[Answer | ModelStudioError]:
        """Yield the answer of each input, in their order, or the error of the input. Waits for the end first."""
        if not self.status.ended:
            self.wait()
        for _, line in self._journal.results():
            yield self._answer(line)

    async def aresults(self) -> AsyncIterator[Answer | ModelStudioError]:
        """The async twin of `results`."""
        if not self.status.ended:
            await self.await_done()
        for position, line in self._journal.results():
            yield self._answer(line)
            if position % 100 == 0:
                await self._client.transport.asleep(0)

    def as_completed(
        self, *, poll_interval: float | None = None, timeout: float | None = None
    ) -> Iterator[tuple[int, Answer | ModelStudioError]]:
        """Yield the position and the answer or error of each input, file by file as they end; see `wait`."""
        seen: set[int] = set()
        yield from self._collected(seen)
        if not self.status.ended:
            for _ in self._run(self._flow.wait(poll_interval, timeout)):
                yield from self._collected(seen)

    async def aas_completed(
        self, *, poll_interval: float | None = None, timeout: float | None = None
    ) -> AsyncIterator[tuple[int, Answer | ModelStudioError]]:
        """The async twin of `as_completed`."""
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
        """Perform the steps of a flow, and yield at its reports."""
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
        """The async twin of `_run`."""
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
            return (self._once if step.once else self._client).request(step.url, step.call, step.decode)
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
            return await (self._once if step.once else self._client).arequest(step.url, step.call, step.decode)
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
    """Note what a new journal belongs to. Raises ConfigurationError for a journal of other settings."""
    with journal.transaction():
        noted = journal.fact("request")
        if noted is None:
            journal.set_fact("request", request)
            journal.set_fact("limits", limits)
            journal.set_fact("window", window)
    if noted is not None and noted != request:
        raise ConfigurationError(
            f"journal={journal.path!r} belongs to a job with other settings: {differences(noted, request)}. Use the "
            "same model, settings and bindings, or another journal"
        )


@contextmanager
def _progress(job: BatchJob[Any], wanted: bool) -> Iterator[Callable[[], None]]:
    """Give a function that shows the progress of a job."""
    if not wanted:
        yield lambda: None
        return
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped]  # it has no types
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
