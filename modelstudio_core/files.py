"""Store files at the service: documents for qwen-long, input and results of batch jobs.

Facts: the vendor's "OpenAI compatible - File" and "Qwen-Long" pages. Files belong to the account and do not expire; an
account has room for 10,000 of them and 100 GB. The service offers them in Beijing, and in Singapore for batch jobs
only. The sync and async code have the same structure; change both together.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from io import BytesIO
from typing import Any

from modelstudio_core.errors import APITimeoutError, BadRequestError, ConfigurationError, FileError, ModelStudioError
from modelstudio_core.http.client import Client
from modelstudio_core.http.disk import Source, Target, Upload, poll_delays
from modelstudio_core.protocols.files import (
    FileObject,
    FilePage,
    delete_call,
    file_url,
    get_call,
    read_deleted,
    read_file,
    read_page,
    upload_call,
    with_query,
)

__all__ = ["FileObject", "Files", "Upload"]

MAX_IDS = 100
"""Most files in one system message (vendor's Qwen-Long page)."""
WAIT_SECONDS = 300.0
EXTRACT = "file-extract"


class Files:
    """The files of an account: `llm.files`.

    Each method has an async version, whose name begins with `a`. All raise ModelStudioError. Requests are retried like
    chat requests.

    Args:
        client: sends the requests.
        errors: returns a context that raises core errors as an adapter's own.
        system_message: returns a system message of the framework with the given text.
        owner: the model object whose `files` these are. It is pickled instead, because a client has the key.
    """

    def __init__(
        self,
        client: Client,
        errors: Callable[[], AbstractContextManager[None]] = nullcontext,
        system_message: Callable[[str], Any] | None = None,
        owner: object = None,
    ) -> None:
        self._client = client
        self._errors = errors
        self._make_system_message = system_message
        self._owner = owner

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._owner, "files")

    # ---------------------------------------------------------------- upload

    def upload(
        self,
        file: Upload,
        *,
        purpose: str = EXTRACT,
        filename: str | None = None,
        wait: bool | None = None,
        timeout: float = WAIT_SECONDS,
    ) -> FileObject:
        """Store a file. It is read from disk while it is sent.

        A retry after a lost response may store the file twice. That is harmless: storage is free, and only the file
        that is returned is used.

        Args:
            file: a path, bytes, or a binary file object.
            purpose: "file-extract" (documents up to 150 MB, images up to 20 MB, for qwen-long), "batch" (up to 500 MB)
                or "fine-tune" (up to 300 MB).
            filename: its name at the service, which reads the format from it. Needed with bytes.
            wait: return only once the file is parsed; see `wait`. Default: for "file-extract".
            timeout: seconds to wait for that.

        Raises:
            ConfigurationError: if the file cannot be read, or has no name.
            FileError: if the service refuses the file, or cannot parse it.
        """
        with self._errors():
            client = self._client
            source = Source.open(file, filename)
            try:
                with _naming(source.name):
                    call = upload_call(source.file, source.name, purpose)
                    stored = client.request(file_url(client.config), call, read_file)
            finally:
                source.close()
        return self.wait(stored, timeout=timeout) if _waits(wait, purpose) else stored

    async def aupload(
        self,
        file: Upload,
        *,
        purpose: str = EXTRACT,
        filename: str | None = None,
        wait: bool | None = None,
        timeout: float = WAIT_SECONDS,
    ) -> FileObject:
        """Async version of `upload`. The file is read in a thread."""
        with self._errors():
            client = self._client
            source = await client.transport.acall(partial(Source.open, file, filename))
            try:
                with _naming(source.name):
                    call = upload_call(source.file, source.name, purpose)
                    stored = await client.arequest(file_url(client.config), call, read_file)
            finally:
                source.close()
        return await self.await_parsed(stored, timeout=timeout) if _waits(wait, purpose) else stored

    def wait(self, file: str | FileObject, *, timeout: float = WAIT_SECONDS) -> FileObject:
        """Return a file once the service has parsed it. Looks after 0.5 s, then less and less often, up to each 5 s.

        Raises:
            FileError: if it cannot be parsed.
            APITimeoutError: if it is not parsed within `timeout` seconds.
        """
        found = file if isinstance(file, FileObject) else self.retrieve(file)
        for pause in poll_delays(timeout):
            if found.is_parsed:
                break
            self._client.transport.sleep(pause)
            found = self.retrieve(found.id)
        with self._errors():
            return _parsed(found, timeout)

    async def await_parsed(self, file: str | FileObject, *, timeout: float = WAIT_SECONDS) -> FileObject:
        """Async version of `wait`. Its name differs, because `await` is a Python keyword."""
        found = file if isinstance(file, FileObject) else await self.aretrieve(file)
        for pause in poll_delays(timeout):
            if found.is_parsed:
                break
            await self._client.transport.asleep(pause)
            found = await self.aretrieve(found.id)
        with self._errors():
            return _parsed(found, timeout)

    # ---------------------------------------------------------------- the rest

    def retrieve(self, id: str) -> FileObject:
        """Return what the service knows of a file, but not its content."""
        with self._errors():
            return self._client.request(file_url(self._client.config, _id(id)), get_call(), read_file)

    async def aretrieve(self, id: str) -> FileObject:
        """Async version of `retrieve`."""
        with self._errors():
            return await self._client.arequest(file_url(self._client.config, _id(id)), get_call(), read_file)

    def list(
        self, *, purpose: str | None = None, after: str | None = None, page_size: int | None = None
    ) -> Iterator[FileObject]:
        """Yield the account's files. The next page is requested when the one before it has been read.

        Args:
            purpose: only files of this purpose, such as "batch" or "batch_output".
            after: the id of the file to begin behind.
            page_size: files of one response, 1 to 2000 (the service's default).
        """
        while True:
            with self._errors():
                page = self._client.request(self._page_url(purpose, after, page_size), get_call(), read_page)
            yield from page.files
            if (after := _next(page, after)) is None:
                return

    async def alist(
        self, *, purpose: str | None = None, after: str | None = None, page_size: int | None = None
    ) -> AsyncIterator[FileObject]:
        """Async version of `list`."""
        while True:
            with self._errors():
                page = await self._client.arequest(self._page_url(purpose, after, page_size), get_call(), read_page)
            for file in page.files:
                yield file
            if (after := _next(page, after)) is None:
                return

    def content(self, id: str, *, to: str | os.PathLike[str] | None = None) -> bytes:
        """Return the content of a file. The service gives out results of batch jobs only.

        With `to`, the content is written to that path as it comes, and b"" is returned: nothing is held in memory, and
        the path has its old content until the new one is complete. A download that breaks off begins again.
        """
        with self._errors():
            url = file_url(self._client.config, _id(id), "content")
            if to is None:
                kept = BytesIO()
                self._client.download(url, get_call(), kept)
                return kept.getvalue()
            target = Target.open(to)
            complete = False
            try:
                self._client.download(url, get_call(), target.file)
                complete = True
            finally:
                target.close(complete=complete)
            return b""

    async def acontent(self, id: str, *, to: str | os.PathLike[str] | None = None) -> bytes:
        """Async version of `content`. The file is written in a thread."""
        with self._errors():
            url = file_url(self._client.config, _id(id), "content")
            if to is None:
                kept = BytesIO()
                await self._client.adownload(url, get_call(), kept)
                return kept.getvalue()
            target = Target.open(to)
            complete = False
            try:
                await self._client.adownload(url, get_call(), target.file)
                complete = True
            finally:
                target.close(complete=complete)
            return b""

    def delete(self, id: str) -> bool:
        """Delete a file. Return False if the service says that it did not."""
        with self._errors():
            return self._client.request(file_url(self._client.config, _id(id)), delete_call(), read_deleted)

    async def adelete(self, id: str) -> bool:
        """Async version of `delete`."""
        with self._errors():
            return await self._client.arequest(file_url(self._client.config, _id(id)), delete_call(), read_deleted)

    def system_message(self, files: str | FileObject | Sequence[str | FileObject]) -> Any:
        """Return the system message with which qwen-long reads stored files: `fileid://...,fileid://...`.

        It goes behind the message that sets the model's role, and before the question. Files that come later go in
        further messages of this kind. Nothing is sent.

        Args:
            files: up to 100 files, or their ids. Their order matters to the answer.

        Raises:
            ConfigurationError: for no file, more than 100, or what is no id.
        """
        given = [files] if isinstance(files, str | FileObject) else [*files]
        with self._errors():
            ids = [_id(file.id if isinstance(file, FileObject) else file) for file in given]
            if not 1 <= len(ids) <= MAX_IDS:
                raise ConfigurationError(f"{len(ids)} files: one system message takes 1 to {MAX_IDS}")
            text = ",".join(f"fileid://{id}" for id in ids)
            return text if self._make_system_message is None else self._make_system_message(text)

    def _page_url(self, purpose: str | None, after: str | None, page_size: int | None) -> str:
        query = {"purpose": purpose, "after": after, "limit": page_size}
        return with_query(file_url(self._client.config), query)


def _id(id: str) -> str:
    """Return a file's id. Raises ConfigurationError for what cannot be one."""
    id = id.removeprefix("fileid://") if isinstance(id, str) else id
    if not isinstance(id, str) or not id or any(mark in id for mark in ", \t\n/?#"):
        raise ConfigurationError(f'{id!r:.80} is no id of a file, such as "file-fe-..."')
    return id


def _waits(wait: bool | None, purpose: str) -> bool:
    return purpose == EXTRACT if wait is None else wait


def _parsed(file: FileObject, timeout: float) -> FileObject:
    """Return a file that is parsed. Raises FileError if it cannot be, APITimeoutError if it is not yet."""
    name = f"{file.filename!r} ({file.id})" if file.filename else file.id
    if file.status == "error":
        said = f": {file.status_details}" if file.status_details else ""
        error = FileError(f"the service cannot parse the file {name}{said}", body=dict(file.raw))
        error.file = file.filename or file.id
        raise error
    if not file.is_parsed:
        raise APITimeoutError(
            f"the file {name} is not parsed after {timeout:g} s, but {file.status}: wait longer, by timeout=",
            is_resent=False,
        )
    return file


def _next(page: FilePage, after: str | None) -> str | None:
    """Return the id that the next page begins behind, or None at the end of the list."""
    last = page.files[-1].id if page.files and page.has_more else None
    return None if last == after else last


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Let an error name the file. A request that the service refuses because of it is a FileError."""
    try:
        yield
    except ModelStudioError as error:
        if type(error) is BadRequestError:
            error = error.recast(FileError)
        if isinstance(error, FileError):
            error.file = name
        error.message = f"{error.message} The file was {name!r}."
        error.args = (error.message,)
        raise error from error.__cause__
