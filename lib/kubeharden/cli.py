"""Private. The command ``kubeharden``. Exit codes: 0 all is well, 1 something is wrong, 2 wrong usage."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeAlias

from kubeharden import __version__
from kubeharden.errors import KubehardenError, ParameterError
from kubeharden.inputs.inventory import read_inventory
from kubeharden.inputs.project import notebooks, runs_folder, shipped_files, wrong_path
from kubeharden.records.archive import RECORD, RUN_NAME, is_sealed, runs_in
from kubeharden.records.journal import JOURNAL
from kubeharden.records.keys import find_key
from kubeharden.records.names import find_folder, find_run
from kubeharden.records.push import push
from kubeharden.records.reader import is_there, on_lines, one_line
from kubeharden.records.register import RegisterEntry, RunFilter, compare_runs, record_of, register
from kubeharden.records.sign_off import sign_off
from kubeharden.records.signature import Signers, chosen_signers, if_known
from kubeharden.records.timestamp import find_authority, find_certificates
from kubeharden.records.verify import Verdict, verify, verify_folder, verify_sealed
from kubeharden.redaction import Redactor
from kubeharden.show.display import Message, View
from kubeharden.show.records_views import (
    comparison_view,
    names_on_lines,
    register_view,
    run_view,
    verdict_text,
)
from kubeharden.show.register_pages import comparison_page, run_page, write_register

WELL, WRONG, USAGE = 0, 1, 2
# Words of help that several commands have.
ONE_RUN = "the run's folder, its name in the project's outputs/, its change, or last"
RUNS = "the folder of runs; else the project's outputs/"
ELSE_KEY = "else $KUBEHARDEN_SIGNING_KEY, git's, or one of ~/.ssh"
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(words: Sequence[str] | None = None) -> int:
    """Run one command, of these words or of the command line of the process; return its exit code."""
    options = _parser().parse_args(words)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ParameterError as error:
        return _fail(options, error, USAGE)
    except KubehardenError as error:
        return _fail(options, error, WRONG)
    except BrokenPipeError:  # the reader of the output has gone, as "| head" does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WELL


def _fail(options: argparse.Namespace, error: Exception, code: int) -> int:
    words = options.redactor.redact(str(error)).replace("\n", "\n    ")
    sys.stderr.write(f"kubeharden: {on_lines(words)}\n")
    return code


def _say(options: argparse.Namespace, sentence: str) -> None:
    """Print one line, whatever the names in it are."""
    _print(options, one_line(sentence))


def _print(options: argparse.Namespace, text: str) -> None:
    sys.stdout.write(f"{on_lines(options.redactor.redact(text))}\n")


def _print_view(options: argparse.Namespace, view: View) -> None:
    _print(options, str(names_on_lines(view)))


def _print_json(content: object) -> None:
    """Print recorded data, which is redacted already: redacting it again could break the JSON."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    lines = (
        "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line) for line in text.split("\n")
    )
    sys.stdout.write("\n".join(lines) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubeharden", description="Records of runs: seal, verify, list, show; what stays on nodes."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(redactor=Redactor())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    words = "make a folder to work in, with the notebooks, the policies and an example of an inventory"
    sub = _add(commands, "init", _init, words)
    sub.add_argument("folder", type=Path, help="the folder; what is there already stays as it is")

    words = "copy one of the project's notebooks into outputs/, to work in"
    sub = _add(commands, "notebook", _notebook, words)
    sub.add_argument("kind", choices=sorted(notebooks()), help="which notebook")
    sub.add_argument("name", help="what the copy is called, such as the change: CHG-4711")

    words = "add the executed notebook to a run's record, and sign the record"
    sub = _add(commands, "seal", _seal, words, ONE_RUN)
    what = sub.add_mutually_exclusive_group(required=True)
    what.add_argument("notebook", nargs="?", type=Path, help="the executed notebook")
    what.add_argument("--no-notebook", action="store_true", help="for a run whose notebook is lost")
    _option(sub, "--key", f"SSH key to sign with; {ELSE_KEY}")
    words = "a time-stamp authority (RFC 3161), whose time is kept; else $KUBEHARDEN_TIMESTAMP_URL, or none"
    _option(sub, "--timestamp-url", words, "URL")
    _add_certificates(sub)

    words = "sign the result of a sealed run, as a second person who has seen it"
    sub = _add(commands, "sign-off", _sign_off, words, ONE_RUN)
    _option(sub, "--words", "what you say of the result")
    _option(sub, "--key", f"your SSH key; {ELSE_KEY}")
    words = "whose seals count: a public key or allowed signers; else the seal must hold by its own key"
    _option(sub, "--signers", words, "FILE")

    words = "check that runs are as they were sealed; without a cluster and without Jupyter"
    sub = _add(commands, "verify", _verify, words)
    sub.add_argument("runs", nargs="+", metavar="run", help="a run's folder or name, or a folder of runs")
    _add_signers(sub)
    _add_oldest(sub)
    _add_certificates(sub)

    _add_lists(commands)

    sub = _add(commands, "push", _push, "copy a sealed run to S3, and read the copy back", ONE_RUN)
    sub.add_argument("url", help="s3://BUCKET/PREFIX")

    words = "remove what kubeharden keeps on the nodes: its units, and the backups of changes"
    sub = _add(commands, "clean-nodes", _clean_nodes, words)
    sub.add_argument("--inventory", required=True, type=Path, metavar="FILE", help="the inventory")
    sub.add_argument("nodes", nargs="*", metavar="node", help="only these; else all of the inventory")
    return parser


def _add(
    commands: Commands, name: str, command: Callable[[argparse.Namespace], int], words: str, run: str = ""
) -> argparse.ArgumentParser:
    """Add a command; one that is about a run has that as its first argument, with these words."""
    sub = commands.add_parser(name, help=words)
    sub.set_defaults(command=command)
    if run:
        sub.add_argument("run", help=run)
    return sub


def _add_lists(commands: Commands) -> None:
    """Add the commands that show runs."""
    sub = _add(commands, "records", _records, "list the runs and their results")
    sub.add_argument("folder", nargs="?", default="", help=RUNS)
    _option(sub, "--node", "only runs that changed this node")
    words = "only runs that changed an object or service whose name has this text"
    sub.add_argument("--object", default="", dest="about", metavar="TEXT", help=words)
    _option(sub, "--user", "only runs by this login or Kubernetes user")
    _option(sub, "--since", "only runs from this day or time on (UTC): 2026-11-01T08:30", "TIME")
    _option(sub, "--until", "only runs up to this day or time, itself included", "TIME")
    sub.add_argument("--verify", action="store_true", help="verify each run; about 10 ms a run")
    sub.add_argument("--json", action="store_true", help="as JSON")
    _add_signers(sub)
    _add_oldest(sub)
    _add_certificates(sub)

    words = "show one run: who ran it, its changes and results, and whether its seal holds"
    sub = _add(commands, "show", _show, words, ONE_RUN)
    form = sub.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the record itself")
    _add_page(sub, form)
    _add_signers(sub)
    _add_certificates(sub)

    sub = _add(commands, "diff", _diff, "show the differences between two runs", "one run's folder or name")
    sub.add_argument("other", help="the other run's folder or name")
    _add_page(sub, sub)

    words = "write the register as pages that open from a file: index.html in the folder of runs"
    sub = _add(commands, "register", _register, words)
    sub.add_argument("folder", nargs="?", default="", help=RUNS)
    _add_signers(sub)
    _add_certificates(sub)


def _add_page(parser: argparse.ArgumentParser, form: argparse._ActionsContainer) -> None:
    words = "as a page that opens from a file, and can be printed"
    form.add_argument("--html", action="store_true", help=words)
    words = "where the page goes; else it is printed"
    parser.add_argument("-o", "--output", default="", metavar="FILE", help=words)


def _add_oldest(parser: argparse.ArgumentParser) -> None:
    _option(parser, "--oldest", "the oldest run that is kept: those before it were removed on purpose", "RUN")


def _add_certificates(parser: argparse.ArgumentParser) -> None:
    words = "the certificates of time-stamp authorities that count (PEM); else $KUBEHARDEN_TIMESTAMP_CA"
    _option(parser, "--timestamp-ca", words, "FILE")


def _add_signers(parser: argparse.ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group()
    _option(whose, "--allowed-signers", "whose signatures count: allowed signers, see ssh-keygen(1)", "FILE")
    _option(whose, "--key", "the one public key whose signatures count", "PUBKEY")


def _option(parser: argparse._ActionsContainer, name: str, words: str, metavar: str | None = None) -> None:
    parser.add_argument(name, default="", metavar=metavar, help=words)


def _init(options: argparse.Namespace) -> int:
    for name, source in sorted(shipped_files().items()):
        target = options.folder / name
        if target.exists():
            _say(options, f"• {target} is there already, and stays as it is")
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        except OSError as error:
            raise ParameterError(f"{target}: cannot be written: {error.strerror}") from error
        _say(options, f"✔ {target}")
    (options.folder / "outputs").mkdir(exist_ok=True)
    return WELL


def _seal(options: argparse.Namespace) -> int:
    from kubeharden.records.seal import seal  # noqa: PLC0415 - Jupyter is for sealing only

    folder, key = find_run(options.run), find_key(options.key).path
    authority = find_authority(options.timestamp_url, options.timestamp_ca)
    done = seal(folder, options.notebook, key, may_ask=sys.stdin.isatty(), authority=authority)
    if done.again:
        _say(
            options,
            f"{done.seal.run} was sealed already, on {done.seal.sealed}, and nothing has changed since.",
        )
    else:
        _say(options, f"Sealed {done.seal.run}: {len(done.seal.files)} files, signed with {done.seal.key}.")
        _say(options, f"Check it with: kubeharden verify {done.folder}")
    return WELL


def _sign_off(options: argparse.Namespace) -> int:
    folder, key = find_run(options.run), find_key(options.key).path
    statement = sign_off(folder, key, options.words, options.signers, may_ask=sys.stdin.isatty())
    _say(options, f"Signed off {statement.run}: {statement.result}, with {statement.key}.")
    return WELL


def _verify(options: argparse.Namespace) -> int:
    with _signers_if_needed(options) as signers:
        ca = find_certificates(options.timestamp_ca)
        verdicts = [found for text in options.runs for found in _verdicts(text, signers, options.oldest, ca)]
        _say(options, f"Signatures that count: {signers.words}")
    for verdict in verdicts:
        _print(options, verdict_text(verdict))
    return WRONG if any(verdict.wrong for verdict in verdicts) else WELL


def _records(options: argparse.Namespace) -> int:
    parent = find_folder(options.folder) if options.folder else runs_folder()
    wanted = RunFilter(options.node, options.about, options.user, options.since, options.until)
    entries = register(parent, wanted)
    verdicts, words = None, ""
    if options.verify:
        ca = find_certificates(options.timestamp_ca)
        with _signers(options) as signers:
            verdicts = verify_sealed((entry.folder for entry in entries), signers, options.oldest, ca=ca)
            words = signers.words
    if options.json:
        _print_json([_entry_json(entry, verdicts) for entry in entries])
    else:
        view = register_view(entries, verdicts)
        if verdicts is not None:
            view.add(Message(f"Signatures that count: {one_line(words)}"))
        _print_view(options, view)
    return WRONG if any(verdict.wrong for verdict in (verdicts or {}).values()) else WELL


def _entry_json(entry: RegisterEntry, verdicts: Mapping[str, Verdict] | None) -> dict[str, object]:
    """Return a row of the register; ``verified`` is null for a run that was not verified."""
    verdict = (verdicts or {}).get(entry.run)
    return {
        "run": entry.run,
        **vars(entry),
        "folder": str(entry.folder),
        "verified": None if verdict is None else verdict.good,
        "wrong": [*entry.wrong, *(() if verdict is None else verdict.wrong)],
    }


def _show(options: argparse.Namespace) -> int:
    folder = find_run(options.run, unique=False)
    if options.json:
        _print_json(record_of(folder))
        return WELL
    with _signers_if_known(options) as signers:
        verdict = verify(folder, signers, ca=find_certificates(options.timestamp_ca)) if signers else None
        counts = [Message(f"Signatures that count: {one_line(signers.words)}")] if signers else []
    if options.html or options.output:
        _put_page(options, run_page(folder, verdict, View([*counts]), options.redactor))
    else:
        _print_view(options, run_view(record_of(folder), verdict).add(*counts))
    return WELL if verdict is None or verdict.good or not verdict.sealed else WRONG


def _put_page(options: argparse.Namespace, page: str) -> None:
    """Write a page to a file, or print it.

    Raises:
        ParameterError: it cannot be written there, or the file would lie in a run, whose files are counted.
    """
    output = options.output
    if not options.html:
        raise ParameterError("-o FILE is where the page of --html goes")
    if not output:
        sys.stdout.write(page)
        return
    path = Path(output).expanduser().absolute()
    if why := wrong_path(output):
        raise ParameterError(f"{one_line(output[:80])}: {why}")
    if any(is_there(folder, JOURNAL) for folder in path.parents):
        raise ParameterError(f"{output}: lies in the record of a run, to which nothing may be added")
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ParameterError(f"{output}: cannot be written ({error.strerror})") from None


def _diff(options: argparse.Namespace) -> int:
    one, other = (find_run(text, unique=False) for text in (options.run, options.other))
    if options.html or options.output:
        _put_page(options, comparison_page(one, other, options.redactor))
    else:
        _print_view(options, comparison_view(one.name, other.name, compare_runs(one, other)))
    return WELL


def _register(options: argparse.Namespace) -> int:
    parent = find_folder(options.folder) if options.folder else runs_folder().absolute()
    ca = find_certificates(options.timestamp_ca)
    with _signers_if_known(options) as signers:
        index = write_register(parent, signers, ca, options.redactor)
    _say(options, f"Wrote {index}.")
    return WELL


def _push(options: argparse.Namespace) -> int:
    done = push(find_run(options.run), options.url)
    were = f", {done.earlier} of which it had before" if done.earlier else ""
    _say(
        options,
        f"{done.place} has all {done.files} files of this run{were}; every byte was read back and compared.",
    )
    return WELL


def _notebook(options: argparse.Namespace) -> int:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", options.name):
        raise ParameterError(
            f"name: {options.name[:80]!r} is not a name of a file; expected one like CHG-4711"
        )
    path = runs_folder() / f"{options.name.removesuffix('.ipynb')}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(notebooks()[options.kind].read_bytes())
    except FileExistsError:
        raise ParameterError(
            f"name: there is {path} already; take another name, or go on in that one"
        ) from None
    _say(options, f"Made {path}. Open it with: {shlex.join(['jupyter', 'lab', str(path)])}")
    return WELL


def _clean_nodes(options: argparse.Namespace) -> int:
    from kubeharden.edges.connect import connect_nodes  # noqa: PLC0415 - SSH is for nodes only

    inventory = read_inventory(options.inventory)
    unknown = set(options.nodes) - {node.name for node in inventory.nodes}
    if unknown:
        raise ParameterError(f"{options.inventory}: has no node {', '.join(sorted(unknown))}")
    with connect_nodes(inventory, options.redactor) as nodes:
        removed = nodes.clean(options.nodes or None)
    for node, paths in removed.items():
        _say(options, f"{node}: {'removed ' + ', '.join(paths) if paths else 'there was nothing'}")
    return WELL


def _signers_if_needed(options: argparse.Namespace) -> AbstractContextManager[Signers]:
    """Return the signers that count; nobody where no run bears a seal, and nobody was named."""
    folders = [find_folder(text, unique=False) for text in options.runs]
    runs = [run for folder in folders for run in ([folder] if _is_run(folder) else runs_in(folder))]
    if options.key or options.allowed_signers or any(map(is_sealed, runs)):
        return _signers(options)
    return nullcontext(Signers(Path(os.devnull), words="not asked for, since no run here is sealed"))


def _is_run(folder: Path) -> bool:
    return bool(RUN_NAME.fullmatch(folder.name)) or is_there(folder, JOURNAL) or is_there(folder, RECORD)


def _verdicts(text: str, signers: Signers, oldest: str, ca: bytes | None) -> list[Verdict]:
    folder = find_folder(text, unique=False)
    if _is_run(folder):
        return [verify(folder, signers, oldest, ca=ca)]
    if not runs_in(folder):
        raise ParameterError(f"{text}: there is no run in this folder")
    return verify_folder(folder, signers, oldest, ca=ca)


def _signers(options: argparse.Namespace) -> AbstractContextManager[Signers]:
    return chosen_signers(options.allowed_signers, options.key)


def _signers_if_known(options: argparse.Namespace) -> AbstractContextManager[Signers | None]:
    return if_known(_signers(options), named=bool(options.key or options.allowed_signers))
