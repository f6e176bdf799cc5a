"""Store a batch job in an SQLite file: inputs, files, jobs and results, but never the key.

Each step is one transaction, so a crash never leaves it half done. Positions are indexes of the inputs. A lock admits
one process at a time; the operating system releases it when the process ends.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from typing import Any, Final

from modelstudio_core.errors import ConfigurationError

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE inputs (position INTEGER PRIMARY KEY, file INTEGER NOT NULL, line BLOB NOT NULL);
CREATE TABLE results (
    position INTEGER PRIMARY KEY, failed INTEGER NOT NULL, retryable INTEGER NOT NULL, line BLOB NOT NULL
);
CREATE TABLE files (
    number INTEGER PRIMARY KEY, grp TEXT NOT NULL, endpoint TEXT NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, lines INTEGER NOT NULL, bytes INTEGER NOT NULL, closed INTEGER NOT NULL DEFAULT 0,
    upload_begun INTEGER NOT NULL DEFAULT 0, file_id TEXT, create_begun INTEGER NOT NULL DEFAULT 0, batch_id TEXT,
    state TEXT NOT NULL DEFAULT 'new', completed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    output_file_id TEXT, error_file_id TEXT, reason TEXT, collected INTEGER NOT NULL DEFAULT 0
);
"""
_PAGE_BYTES: Final = 16384  # larger than the default, because lines are long
ENDED: Final = ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """The status of a job as of the last poll.

    Attributes:
        state: "new" (nothing submitted), "submitting" (some files submitted), "validating", "in_progress", "finalizing"
            or "cancelling"; at the end "completed", "failed", "expired" or "cancelled". With several files, the
            earliest state of those running, and at the end the worst. A completed job may have failed inputs.
        total: number of inputs.
        completed: number of inputs that have an answer.
        failed: number of inputs that have an error.
        files: number of files. Each is a job of its own at the service.
    """

    state: str
    total: int
    completed: int
    failed: int
    files: int

    @property
    def ended(self) -> bool:
        """Return True if all results are downloaded."""
        return self.state in ENDED


@dataclass(slots=True)
class File:
    """One input file and its job at the service. Fields are the columns of the table `files`."""

    number: int
    grp: str
    endpoint: str
    first: int
    last: int
    lines: int
    bytes: int
    closed: int = 0
    upload_begun: int = 0
    file_id: str | None = None
    create_begun: int = 0
    batch_id: str | None = None
    state: str = "new"
    completed: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    reason: str | None = None
    collected: int = 0

    @property
    def is_submitted(self) -> bool:
        """Return True if its job was created, or will not be because it was cancelled."""
        return self.batch_id is not None or self.state in ENDED


_COLUMNS: Final = tuple(each.name for each in fields(File))
_INSERT_FILE: Final = f"REPLACE INTO files ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
ResultRow = tuple[int, int, int, bytes]  # a row of the table `results`


class Journal:
    """A journal on disk. Raises ConfigurationError if the file is not a journal."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)
        self._lock_path = f"{os.path.abspath(self.path)}-lock"  # absolute, because the working directory may change
        if self.path in ("", ":memory:"):
            raise ConfigurationError(f"journal={self.path!r} is not a file path: pass a path on disk")
        try:
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self._db.close)
            self._db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # applies to a new file only
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # commits survive a power failure
            with self.transaction():
                if not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
                    for statement in _SCHEMA.split(";"):
                        self._db.execute(statement)
                    self.set_fact("version", _VERSION)
                    self.set_fact("name", secrets.token_hex(6))
            if self.fact("version") != _VERSION:
                raise sqlite3.DatabaseError(f"unknown version {self.fact('version')}")
        except (sqlite3.Error, ConfigurationError) as error:
            raise ConfigurationError(
                f"journal={self.path!r} cannot be used as a journal: {error.__cause__ or error}"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit the changes of the block, or roll them back. Raises ConfigurationError if the disk write fails."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite rolls back by itself if the disk is full
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"journal={self.path!r} cannot be written: {error}. Fix this, then continue with the same journal"
            ) from error

    def lock(self) -> sqlite3.Connection | None:
        """Lock the journal. Return the lock, to be closed by the caller, or None if another process holds it."""
        try:
            lock = sqlite3.connect(self._lock_path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error as error:
                lock.close()
                if "locked" in str(error):  # Python 3.10 has no error codes
                    return None
                raise
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"the lock file {self._lock_path!r} of the journal cannot be written: {error}"
            ) from None
        return lock

    # ---------------------------------------------------------------- values

    def fact(self, name: str) -> Any:
        """Return a stored value, or None."""
        found = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def set_fact(self, name: str, value: Any) -> None:
        """Store a JSON value."""
        self._db.execute("REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    # ---------------------------------------------------------------- inputs and files

    def count_inputs(self) -> int:
        """Return the number of inputs."""
        return int(self._db.execute("SELECT coalesce(max(position) + 1, 0) FROM inputs").fetchone()[0])

    def add_inputs(self, rows: Iterable[tuple[int, int, bytes]]) -> None:
        """Add inputs as (position, file number, line)."""
        self._db.executemany("INSERT INTO inputs VALUES (?, ?, ?)", rows)

    def input_lines(self) -> Iterator[bytes]:
        """Yield the lines of all inputs, in order."""
        return (line for (line,) in self._rows("SELECT line FROM inputs ORDER BY position"))

    def lines_of(self, file: File) -> Iterator[bytes]:
        """Yield the lines of one file, in order."""
        query = "SELECT line FROM inputs WHERE position BETWEEN ? AND ? AND file = ? ORDER BY position"
        return (line for (line,) in self._rows(query, (file.first, file.last, file.number)))

    def files(self) -> list[File]:
        """Return all files, in the order of their creation."""
        query = f"SELECT {', '.join(_COLUMNS)} FROM files ORDER BY number"
        return [File(*row) for row in self._db.execute(query)]

    def save(self, *files: File) -> None:
        """Insert or update files."""
        self._db.executemany(_INSERT_FILE, [tuple(getattr(file, name) for name in _COLUMNS) for file in files])

    # ---------------------------------------------------------------- results

    def add_results(self, rows: Iterable[ResultRow]) -> None:
        """Add results. An answer replaces an error at the same position, but not the reverse."""
        self._db.executemany(
            "INSERT INTO results VALUES (?, ?, ?, ?) ON CONFLICT (position) DO UPDATE SET "
            "failed = excluded.failed, retryable = excluded.retryable, line = excluded.line WHERE failed",
            rows,
        )

    def missing(self, file: File) -> Iterator[int]:
        """Yield the positions of a file's inputs without a result, in order."""
        query = (
            "SELECT position FROM inputs WHERE position BETWEEN ? AND ? AND file = ? "
            "AND position NOT IN (SELECT position FROM results WHERE position BETWEEN ? AND ?) ORDER BY position"
        )
        rows = self._rows(query, (file.first, file.last, file.number, file.first, file.last))
        return (position for (position,) in rows)

    def results(self, file: File | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield (position, line) of all results, or of one file's results, in order."""
        if file is None:
            return self._rows("SELECT position, line FROM results ORDER BY position")
        query = (
            "SELECT position, results.line FROM inputs JOIN results USING (position) "
            "WHERE position BETWEEN ? AND ? AND file = ? ORDER BY position"
        )
        return self._rows(query, (file.first, file.last, file.number))

    def retryable(self) -> Iterator[tuple[int, int, int]]:
        """Yield (position, file number, bytes of the line) of inputs with retryable errors, in order."""
        return self._rows(
            "SELECT position, file, length(inputs.line) FROM results JOIN inputs USING (position) "
            "WHERE retryable ORDER BY position"
        )

    def move(self, rows: Iterable[tuple[int, int]]) -> None:
        """Assign inputs to other files and delete their results. Rows are (position, file number)."""
        moves = list(rows)
        self._db.executemany("UPDATE inputs SET file = ? WHERE position = ?", [(file, at) for at, file in moves])
        self._db.executemany("DELETE FROM results WHERE position = ?", [(at,) for at, _ in moves])

    def answers(self) -> Iterator[bytes]:
        """Yield the result lines of all answers."""
        return (line for (line,) in self._rows("SELECT line FROM results WHERE NOT failed"))

    def status(self) -> BatchStatus:
        """Return the status."""
        files = self.files()
        completed = sum(file.completed for file in files if not file.collected)
        failed = sum(file.failed for file in files if not file.collected)
        results, answers = self._db.execute(
            "SELECT count(*), count(*) - coalesce(sum(failed), 0) FROM results"
        ).fetchone()
        return BatchStatus(
            state=_state(files, self.fact("written")),
            total=self.count_inputs(),
            completed=completed + answers,
            failed=failed + results - answers,
            files=len(files),
        )

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        """Yield the rows of a query, with a separate cursor."""
        with closing(self._db.cursor()) as cursor:
            yield from cursor.execute(query, values)


_WORST: Final = ("failed", "expired", "cancelled")
_EARLIEST: Final = ("validating", "in_progress", "finalizing")


def _state(files: list[File], written: Any) -> str:
    submitted = [file for file in files if file.is_submitted]
    if not written or not submitted:
        return "new"
    if len(submitted) < len(files):
        return "submitting"
    states = {file.state if file.collected or file.state not in ENDED else "finalizing" for file in files}
    if "cancelling" in states:
        return "cancelling"
    running = states - set(ENDED)
    if running:
        return next((state for state in _EARLIEST if state in running), "in_progress")
    return next((state for state in _WORST if state in states), "completed")


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Describe the settings that differ."""
    names = [name for name in sorted({*stored, *given}) if stored.get(name) != given.get(name)]
    return ", ".join(f"{name}={stored.get(name)!r:.80} in the journal, now {given.get(name)!r:.80}" for name in names)
