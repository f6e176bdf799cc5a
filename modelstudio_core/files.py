"""The Files API: documents for qwen-long, inputs and results of batch jobs.

Source: the vendor's "OpenAI compatible - File" and "Qwen-Long" pages. Files belong to the account and do not expire;
an account may store 10,000 files and 100 GB. The API is available in Beijing, and in Singapore for batch jobs only.
The sync and async code have the same structure; change both together.
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
"""Maximum number of files in one system message (vendor's Qwen-Long page)."""
WAIT_SECONDS = 300.0
EXTRACT = "file-extract"


class Files:
    """The files of an account: `llm.files`.

    Each method has an async version, whose name begins with `a`. All raise ModelStudioError. Requests are retried like
    chat requests.

    Args:
        client: sends the requests.
        errors: returns a context manager that raises core errors as an adapter's errors.
        system_message: returns a system message of the framework with the given text.
        owner: the model object with this `files`. It is pickled instead, because a client has the key.
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
        """Upload a file. It is read from disk while it is sent.

        A retry after a lost response may store the file twice. That is harmless: storage is free, and only the returned
        file is used.

        Args:
            file: a path, bytes, or a binary file object.
            purpose: "file-extract" (documents up to 150 MB, images up to 20 MB, for qwen-long), "batch" (up to 500 MB)
                or "fine-tune" (up to 300 MB).
            filename: its name at the service, whose extension determines the format. Required with bytes.
            wait: wait until the file is parsed. Default: True for "file-extract".
            timeout: seconds to wait.

        Raises:
            ConfigurationError: if the file cannot be read, or has no name.
            FileError: if the service rejects the file, or cannot parse it.
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
        """Poll until the service has parsed a file, and return it. The first interval is 0.5 s, the longest 5 s.

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

    # ---------------------------------------------------------------- other methods

    def retrieve(self, id: str) -> FileObject:
        """Return the metadata of a file."""
        with self._errors():
            return self._client.request(file_url(self._client.config, _id(id)), get_call(), read_file)

    async def aretrieve(self, id: str) -> FileObject:
        """Async version of `retrieve`."""
        with self._errors():
            return await self._client.arequest(file_url(self._client.config, _id(id)), get_call(), read_file)

    def list(
        self, *, purpose: str | None = None, after: str | None = None, page_size: int | None = None
    ) -> Iterator[FileObject]:
        """Yield the account's files. Each page is requested when it is needed.

        Args:
            purpose: only files of this purpose, such as "batch" or "batch_output".
            after: ID of the file after which to start.
            page_size: files per response, 1 to 2000 (the service's default).
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
        """Return the content of a file. The service only allows this for results of batch jobs.

        With `to`, write the content to that path instead, without holding it in memory, and return b"". The path is
        replaced only when the download is complete. An interrupted download is repeated from the start.
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
        """Delete a file. Return False if the service reports that it was not deleted."""
        with self._errors():
            return self._client.request(file_url(self._client.config, _id(id)), delete_call(), read_deleted)

    async def adelete(self, id: str) -> bool:
        """Async version of `delete`."""
        with self._errors():
            return await self._client.arequest(file_url(self._client.config, _id(id)), delete_call(), read_deleted)

    def system_message(self, files: str | FileObject | Sequence[str | FileObject]) -> Any:
        """Return a system message with which qwen-long reads uploaded files: `fileid://...,fileid://...`.

        Place it after the system message with the role, and before the question. Pass files that are added later in
        further such messages. Sends nothing.

        Args:
            files: 1 to 100 files or IDs. Their order may affect the answer.

        Raises:
            ConfigurationError: if there is no file, more than 100, or an invalid ID.
        """
        given = [files] if isinstance(files, str | FileObject) else [*files]
        with self._errors():
            ids = [_id(file.id if isinstance(file, FileObject) else file) for file in given]
            if not 1 <= len(ids) <= MAX_IDS:
                raise ConfigurationError(f"{len(ids)} files: one system message can have 1 to {MAX_IDS}")
            text = ",".join(f"fileid://{id}" for id in ids)
            return text if self._make_system_message is None else self._make_system_message(text)

    def _page_url(self, purpose: str | None, after: str | None, page_size: int | None) -> str:
        query = {"purpose": purpose, "after": after, "limit": page_size}
        return with_query(file_url(self._client.config), query)


def _id(id: str) -> str:
    """Return a file ID without its prefix. Raises ConfigurationError if it is invalid."""
    id = id.removeprefix("fileid://") if isinstance(id, str) else id
    if not isinstance(id, str) or not id or any(mark in id for mark in ", \t\n/?#"):
        raise ConfigurationError(f'{id!r:.80} is not a file ID, such as "file-fe-..."')
    return id


def _waits(wait: bool | None, purpose: str) -> bool:
    return purpose == EXTRACT if wait is None else wait


def _parsed(file: FileObject, timeout: float) -> FileObject:
    """Return a parsed file. Raises FileError if parsing failed, APITimeoutError if it has not finished."""
    name = f"{file.filename!r} ({file.id})" if file.filename else file.id
    if file.status == "error":
        details = f": {file.status_details}" if file.status_details else ""
        error = FileError(f"the service cannot parse the file {name}{details}", body=dict(file.raw))
        error.file = file.filename or file.id
        raise error
    if not file.is_parsed:
        raise APITimeoutError(
            f"the file {name} is not parsed after {timeout:g} s (status {file.status}): increase timeout=",
            is_resent=False,
        )
    return file


def _next(page: FilePage, after: str | None) -> str | None:
    """Return the `after` ID of the next page, or None at the end of the list."""
    last = page.files[-1].id if page.files and page.has_more else None
    return None if last == after else last


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Add the file name to errors. Raise a BadRequestError as a FileError."""
    try:
        yield
    except ModelStudioError as error:
        if type(error) is BadRequestError:
            error = error.recast(FileError)
        if isinstance(error, FileError):
            error.file = name
        error.add_sentence(f"File: {name!r}.")
        raise error from error.__cause__
