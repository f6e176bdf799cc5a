"""Windows and macOS, simulated on Linux: what a system lacks, or does differently, stops nothing.

A new process has all of Python and of the frameworks loaded, and then hides what the platform has not. The real systems
are not tested; the README says so.
"""

from __future__ import annotations

import ast
import asyncio
import mimetypes
import nturl2path
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.http import disk, local_files
from modelstudio_core.http.disk import Target
from modelstudio_core.protocols.files import content_type_of
from tests.loopback import Loopback
from tests.test_event_loops import CALLS, Call, every_call

ROOT = Path(__file__).parent.parent
PACKAGES = ("modelstudio_core", "langchain_modelstudio", "llama_index_modelstudio", "local_model")
MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios"}
"""Modules that Windows has not."""
NAMES = {
    "os": {
        *("chown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getpgid", "getuid", "killpg", "lockf", "mkfifo"),
        *(
            "nice",
            "pread",
            "pwrite",
            "register_at_fork",
            "sched_getaffinity",
            "sendfile",
            "setsid",
            "statvfs",
            "sysconf",
        ),
        *("uname", "wait3", "wait4", "waitid"),
    },
    "signal": {"SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGUSR1", "SIGUSR2", "alarm", "pause"},
    "socket": {"AF_UNIX", "SO_REUSEPORT", "recv_fds", "send_fds"},
    "select": {"epoll", "kqueue", "poll"},
}
"""Names that Windows has not, by their modules; macOS lacks `select.epoll`."""
FILES = ("/proc", "/dev/", "/tmp", "/etc/", "/var/")

CHILD = """
import asyncio, os, select, signal, socket, sys
from pathlib import Path
import tests.test_event_loops  # loads Python's own modules and the frameworks
for name in [name for name in sys.modules if name.split(".")[0] in {packages!r} or name == "tests.test_event_loops"]:
    del sys.modules[name]
loop = asyncio.new_event_loop()
for module in {modules!r}:
    sys.modules[module] = None
for module, names in {names!r}.items():
    for name in names:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
sys.platform = {platform!r}
from tests.test_event_loops import CALLS
for name, url in zip({calls!r}, sys.argv[2:]):
    folder = Path(sys.argv[1], name)
    folder.mkdir()
    print(repr(loop.run_until_complete(CALLS[name][0](url, folder))))
loop.run_until_complete(loop.shutdown_asyncgens())
"""


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_calls_where_posix_is_missing(platform: str, tmp_path: Path) -> None:
    """Without hooks of forks, signals, `resource`, `fcntl`, `poll` and the like, as on Windows, or some on macOS."""
    hidden: Any = (MODULES, NAMES) if platform == "win32" else ((), {"os": ["sched_getaffinity"], "select": ["epoll"]})
    calls = [name for name in CALLS if name in ("left early", "limited", "embeddings", "files", "upload", "batch job")]
    code = CHILD.format(packages=PACKAGES, modules=hidden[0], names=hidden[1], platform=platform, calls=calls)
    with ExitStack() as stack:
        urls = [stack.enter_context(Loopback(CALLS[name][1]())).url for name in calls]
        child = subprocess.run(
            [sys.executable, "-c", code, tmp_path, *urls], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert child.stdout.splitlines() == [repr(CALLS[name][2]) for name in calls], child.stderr


def uses(path: Path) -> set[tuple[str, str]]:
    """The modules, names and paths of POSIX that a file uses, unless it asks for them: `if hasattr(os, "fork")`."""
    source = path.read_text(encoding="utf-8")
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {("import", alias.name) for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module in {*MODULES, *NAMES}:
            names = NAMES.get(node.module, [alias.name for alias in node.names])
            found |= {(node.module, alias.name) for alias in node.names if alias.name in names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in NAMES.get(node.value.id, ()):
                found.add((node.value.id, node.attr))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(FILES):
            found.add(("path", node.value))
    return {(module, name) for module, name in found if f'hasattr({module}, "{name}")' not in source}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_windows_lacks_has_a_guard(package: str) -> None:
    """Each use of POSIX alone asks first whether it is there."""
    unguarded = {str(path.relative_to(ROOT)): found for path in (ROOT / package).rglob("*.py") if (found := uses(path))}
    assert unguarded == {}


def test_an_unguarded_use_is_found(tmp_path: Path) -> None:
    """The check above has something to check."""
    path = tmp_path / "module.py"
    path.write_text(
        "import resource\nfrom signal import SIGKILL\nopen('/proc/self')\nos.fork()\n"
        'if hasattr(os, "register_at_fork"):\n    os.register_at_fork()\n'
    )
    assert uses(path) == {("import", "resource"), ("signal", "SIGKILL"), ("path", "/proc/self"), ("os", "fork")}


class ProactorLike(asyncio.SelectorEventLoop):
    """Has only what the loop of Windows has: no callbacks of readiness, and no signal handlers."""

    def _unsupported(self, *arguments: Any) -> Any:
        raise NotImplementedError

    add_reader = remove_reader = add_writer = remove_writer = _unsupported  # type: ignore[assignment]
    add_signal_handler = remove_signal_handler = _unsupported  # type: ignore[assignment]


@every_call
def test_an_event_loop_like_that_of_windows(call: Call, service: Any, expected: Any, tmp_path: Path) -> None:
    """It cannot watch a socket; a call does not need it to."""
    loop = ProactorLike()
    try:
        with Loopback(service()) as server:
            assert loop.run_until_complete(call(server.url, tmp_path)) == expected
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def test_the_registry_of_windows_does_not_name_formats(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where Excel is installed, `mimetypes` calls .csv application/vnd.ms-excel, and others break .wav and .mp4."""
    registry = {".csv": "application/vnd.ms-excel", ".mp4": "text/plain", ".mkv": "video/x-matroska"}
    monkeypatch.setattr(mimetypes, "guess_type", lambda name: (registry.get(Path(name).suffix), None))
    video = tmp_path / "a.mp4"
    video.write_bytes(b"\0\0\0\x18ftypmp42")
    assert content_type_of("table.csv") == "text/csv"
    assert local_files.local_file(video, "video").mime_type == "video/mp4"
    assert content_type_of("film.mkv") == "video/x-matroska"  # which Python's own table has not


def test_a_file_url_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """`file:///C:/a%20b.png` is C:\\a b.png there. The error of a missing file shows which was looked for."""
    monkeypatch.setattr(local_files, "url2pathname", nturl2path.url2pathname)
    with pytest.raises(ConfigurationError, match=r"'C:\\\\Temp\\\\a b\.png'"):
        local_files.local_file("file:///C:/Temp/a%20b.png", "image")


def test_a_file_that_windows_does_not_replace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It refuses while another process has it open. The error says so, the old content stays, and no part is left."""

    def refuse(old: str, new: str) -> None:
        raise PermissionError(13, "The process cannot access the file because it is being used by another process", new)

    monkeypatch.setattr(disk.os, "replace", refuse)
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"old")
    target = Target.open(path)
    target.file.write(b"new")
    with pytest.raises(PermissionError, match="used by another process"):
        target.close(complete=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.jsonl"]
    assert path.read_bytes() == b"old"


def test_the_proxies_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its registry lists them without a scheme; the same function reads those of macOS."""
    import httpx

    from modelstudio_core.http import environment

    settings = {"http": "proxy.example:3128", "https": "http://proxy.example:3128", "no": "*.local, intranet.example"}
    monkeypatch.setattr("urllib.request.getproxies", lambda: settings)
    assert environment.proxy_for(httpx.URL("http://a.example")) == "http://proxy.example:3128"
    assert environment.proxy_for(httpx.URL("https://a.example")) == "http://proxy.example:3128"
    assert environment.proxy_for(httpx.URL("https://intranet.example")) is None
    assert environment.proxy_for(httpx.URL("http://127.0.0.1:8000")) is None
