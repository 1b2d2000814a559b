"""Steps with progress and logs: what is shown, and what a failure says."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from places import LOGS

_began = time.monotonic()
_here = threading.local()  # the log of the step that this thread is in


class LabError(Exception):
    """What went wrong, where, and what to do."""


class StepError(LabError):
    """A step failed; the message has the end of its log and says where the rest is."""


def say(text: str) -> None:
    """A progress line with the seconds since the start."""
    sys.stdout.write(f"[{time.monotonic() - _began:5.0f}s] {text}\n")
    sys.stdout.flush()


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show that a step begins and ends, and give the commands in it a log of their own.

    Raises:
        StepError: something in it failed.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / ("-".join("".join(c if c.isalnum() else " " for c in title.lower()).split()) + ".log")
    log.write_text("")
    _here.log = log
    began = time.monotonic()
    say(f"{title} …")
    try:
        yield
    except (subprocess.SubprocessError, OSError, LabError) as error:
        tail = "\n".join(f"    {line}" for line in _lines(log)[-15:])
        raise StepError(
            f"step failed: {title}\n  {error}\n  the end of its log:\n{tail}\n"
            f"  all of it: {log}\n  the nodes' consoles: {LOGS}/*.console.log\n"
            "  `make lab` starts cleanly over what is left; `make lab-down` removes it"
        ) from error
    finally:
        _here.log = None
    seconds = time.monotonic() - began
    if seconds >= 2:
        say(f"{title}: {seconds:.0f}s")


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def run(*command: str | Path, text: str | None = None, timeout: float = 1800, check: bool = True) -> str:
    """Run a command; what it printed goes into the step's log, and standard output is returned too."""
    log: Path | None = getattr(_here, "log", None)
    done = subprocess.run(
        [str(word) for word in command],
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    if log is not None:
        with log.open("a") as out:
            out.write(f"$ {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    if check and done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise LabError(
            f"{' '.join(map(str, command))[:200]}: exit status {done.returncode}: {' / '.join(words)}"
        )
    return done.stdout


def run_long(*command: str | Path) -> None:
    """Run a command that takes minutes; its output goes into the step's log while it runs."""
    with _here.log.open("a") as out:
        done = subprocess.run(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
        )
    if done.returncode:
        raise LabError(f"{' '.join(map(str, command))}: exit status {done.returncode}")


def wait(what: str, ready: Callable[[], str], seconds: float = 120, every: float = 0.5) -> None:
    """Wait until ``ready`` returns no reason any more why not.

    Raises:
        LabError: it still has a reason after that many seconds.
    """
    end = time.monotonic() + seconds
    while reason := ready():
        if time.monotonic() > end:
            raise LabError(f"waited {seconds:.0f} seconds for {what}: {reason}")
        time.sleep(every)


def in_parallel(jobs: Sequence[Callable[[], None]]) -> None:
    """Do all of them at once; the first failure is raised when all have ended."""
    failures: list[BaseException] = []
    log = getattr(_here, "log", None)

    def guarded(job: Callable[[], None]) -> None:
        _here.log = log
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
