"""``kubeharden``: records from the command line. Exit codes: 0 all is well, 1 something is wrong, 2 wrong usage."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kubeharden import __version__
from kubeharden.errors import KubehardenError, ParameterError, RecordError
from kubeharden.project import project_folder
from kubeharden.records.contents import JOURNAL, RECORD, RUN_NAME, runs_in
from kubeharden.records.signature import SIGNERS_VARIABLE, Signers, find_key, only_signer, public_part
from kubeharden.records.verify import Verdict, verify, verify_folder
from kubeharden.redact import redact

WELL, WRONG, USAGE = 0, 1, 2


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is returned.

    Args:
        words: the command line without the program's name; None takes the process's own.
    """
    given = _parser().parse_args(words)
    command: Callable[[argparse.Namespace], int] = given.command
    try:
        return command(given)
    except ParameterError as error:
        return _said(error, USAGE)
    except KubehardenError as error:
        return _said(error, WRONG)
    except BrokenPipeError:  # what reads the output had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WELL


def _said(error: Exception, code: int) -> int:
    sys.stderr.write(f"kubeharden: {redact(str(error))}\n")
    return code


def _print(text: str) -> None:
    sys.stdout.write(f"{redact(text)}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubeharden", description="Records of runs: seal, verify, list, show."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    sub = commands.add_parser("seal", help="put the executed notebook beside a run, and sign it all")
    sub.add_argument("run", help="the run's folder, or its name in the project's outputs/")
    what = sub.add_mutually_exclusive_group(required=True)
    what.add_argument("notebook", nargs="?", type=Path, help="the executed notebook")
    what.add_argument("--no-notebook", action="store_true", help="for a run whose notebook is lost")
    sub.add_argument(
        "--key",
        default="",
        help="SSH key to sign with; else $KUBEHARDEN_SIGNING_KEY, git's, or one of ~/.ssh",
    )
    sub.set_defaults(command=_seal)

    sub = commands.add_parser(
        "verify", help="whether runs are what was sealed; needs no cluster and no Jupyter"
    )
    sub.add_argument("runs", nargs="+", metavar="run", help="a run's folder or name, or a folder of runs")
    _add_signers(sub)
    sub.add_argument(
        "--oldest",
        default="",
        metavar="RUN",
        help="the oldest run kept: what was before it is gone on purpose",
    )
    sub.set_defaults(command=_verify)
    return parser


def _add_signers(parser: argparse.ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--allowed-signers",
        type=Path,
        metavar="FILE",
        help="whose signatures count: allowed signers, see ssh-keygen(1)",
    )
    whose.add_argument("--key", type=Path, metavar="PUBKEY", help="the one public key whose signatures count")


def _seal(given: argparse.Namespace) -> int:
    from kubeharden.records.seal import seal  # noqa: PLC0415 - Jupyter is for sealing only

    done = seal(_run(given.run), given.notebook, find_key(given.key), may_ask=sys.stdin.isatty())
    if done.again:
        _print(f"{done.seal.run} was sealed already, on {done.seal.sealed}, and nothing has changed since.")
    else:
        _print(f"Sealed {done.seal.run}: {len(done.seal.files)} files, signed with {done.seal.key}.")
        _print(f"Check it with: kubeharden verify {done.folder}")
    return WELL


def _verify(given: argparse.Namespace) -> int:
    with _signers(given) as signers:
        verdicts = [verdict for text in given.runs for verdict in _verdicts(text, signers, given.oldest)]
    for verdict in verdicts:
        _print(_verdict_text(verdict))
    return WELL if all(verdict.good for verdict in verdicts) else WRONG


def _verdicts(text: str, signers: Signers, oldest: str) -> list[Verdict]:
    folder = _place(text)
    if RUN_NAME.fullmatch(folder.name) or (folder / JOURNAL).exists() or (folder / RECORD).exists():
        return [verify(folder, signers, oldest)]
    if not runs_in(folder):
        raise ParameterError(f"{text}: there is no run in this folder")
    return verify_folder(folder, signers, oldest)


def _verdict_text(verdict: Verdict) -> str:
    lines = [f"✘ {verdict.folder.name}"]
    if verdict.good:
        lines = [
            f"✔ {verdict.folder.name}: as sealed on {verdict.sealed}, by {verdict.signer} ({verdict.key})"
        ]
    return "\n".join(
        (*lines, *(f"    ✘ {text}" for text in verdict.wrong), *(f"    • {t}" for t in verdict.notes))
    )


@contextmanager
def _signers(given: argparse.Namespace) -> Iterator[Signers]:
    """Whose signatures count: as the options say, else the environment, else the operator's own key."""
    named = given.allowed_signers or (None if given.key else os.environ.get(SIGNERS_VARIABLE))
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise ParameterError(f"allowed signers: there is no file {str(path)!r}")
        yield Signers(path)
        return
    try:
        line = public_part(given.key or find_key())
    except RecordError as error:
        raise ParameterError(
            f"whose signatures count? Give --key PUBKEY or --allowed-signers FILE ({error})"
        ) from None
    with only_signer(line) as signers:
        yield signers


def _place(text: str) -> Path:
    """A folder that the command line names: as it is, else in the project's outputs/."""
    path = Path(text).expanduser()
    found = next((p for p in (path, project_folder() / "outputs" / text) if p.is_dir()), None)
    if found is None:
        raise ParameterError(f"{text}: there is no such folder")
    return found.absolute()


def _run(text: str) -> Path:
    folder = _place(text)
    if not (folder / JOURNAL).is_file():
        raise ParameterError(f"{text}: is no run's folder; there is no {JOURNAL} in it")
    return folder
