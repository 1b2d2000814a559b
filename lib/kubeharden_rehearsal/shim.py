"""One program under many names: a rehearsal node has it as systemctl, journalctl, sudo and more.

    shim.py STATE NODE NAME [ARGUMENT...]

It hands its arguments to the rehearsal's server over a Unix socket and prints what comes back; only sudo, which must
become another program, is more than that. ``ask.sh`` does the same over pipes in a tenth of the time, and calls this
one where it cannot. It is run as ``python -I -S -E`` and imports C modules only: 11 ms instead of 19.
"""

import _socket
import posix
import sys

NODE_ADDRESS = "control.sock"
HEAD = 12  # bytes: an answer's status, and the lengths of what goes to stdout and to stderr
LONG_OPTIONS = {"--prompt": "-p", "--user": "-u", "--stdin": "-S", "--non-interactive": "-n"}
_NO_TERMINAL = (
    "sudo: a terminal is required to read the password; either use the -S option to read from "
    "standard input or configure an askpass helper"
)


def variable(name: str, default: str) -> str:
    """Return an environment variable, without importing os."""
    return posix.environ.get(name.encode(), default.encode()).decode(errors="surrogateescape")


def ask(state: str, node: str, words: list[str]) -> tuple[bytes, bytes, int]:
    """Have the server do a command as the user that calls: its stdout, stderr and exit status."""
    try:
        here = posix.getcwd()
    except OSError:
        here = "/"
    # A socket's path may have 107 bytes only, and a rehearsal lives anywhere: go there and come back.
    posix.chdir(state)
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.connect(NODE_ADDRESS)
    posix.chdir(here)
    fields = [node, variable("USER", "ops"), here, *words]
    request = b"\0".join(field.encode(errors="surrogateescape") for field in fields)
    connection.sendall(len(request).to_bytes(4, "big") + request)
    data = b""
    while piece := connection.recv(1 << 16):
        data += piece
    status, output, error = (int.from_bytes(data[at : at + 4], "big") for at in (0, 4, 8))
    if len(data) < HEAD or len(data) != HEAD + output + error:
        raise SystemExit("the rehearsal has ended")
    return data[HEAD : HEAD + output], data[HEAD + output :], status


def write(descriptor: int, data: bytes) -> None:
    """Write all of the data, also to a pipe that takes less at a time."""
    while data:
        data = data[posix.write(descriptor, data) :]


def search(name: str, folders: list[str]) -> str | None:
    """Return the path of an executable."""
    candidates = [name] if "/" in name else [f"{folder}/{name}" for folder in folders]
    return next((path for path in candidates if posix.access(path, posix.X_OK)), None)


def password_line() -> bytes:
    """Read the next line of stdin and not a byte more: what follows belongs to the command."""
    line = b""
    while True:
        byte = posix.read(0, 1)
        if byte == b"\n" or not byte:
            return line if line or byte else b"\0"
        line += byte


def is_assignment(word: str) -> bool:
    """Return whether a word before the command sets a variable."""
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()


def short_options(word: str, rest: list[str], options: dict[str, str]) -> None:
    """Read ``-nS`` or ``-p PROMPT``, taking a value from the words that follow."""
    for index, letter in enumerate(word[1:], start=2):
        if letter in "pugCD":
            options[f"-{letter}"] = word[index:] or (rest.pop(0) if rest else "")
            return
        options[f"-{letter}"] = ""


def sudo_options(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options of sudo (those without a value as an empty one), and the command with its arguments."""
    options = {"-p": "[sudo] password for %u: ", "-u": "root"}
    words = list(arguments)
    while words and (words[0].startswith("-") or is_assignment(words[0])):
        word = words.pop(0)
        if word == "--":
            break
        name, _, value = word.partition("=")
        if is_assignment(word):
            posix.environ[name.encode()] = value.encode()
        elif word.startswith("--"):
            options[LONG_OPTIONS.get(name, name)] = value
        else:
            short_options(word, words, options)
    return options, words


def authenticate(state: str, node: str, options: dict[str, str]) -> str | None:
    """Return what sudo refuses with, or None where the caller may go on."""
    mode = ask(state, node, ["sudo-mode"])[0].decode()
    user = variable("USER", "ops")
    if mode == "nopasswd" or user == "root":
        return None
    if "-n" in options:
        return "sudo: a password is required"
    if "-S" not in options:
        return f"{_NO_TERMINAL}\nsudo: a password is required"
    prompt = options["-p"].replace("%u", user).replace("%p", user).replace("%h", node)
    for attempt in range(3):
        write(2, prompt.encode())
        given = password_line()
        if given == b"\0":
            tried = f"sudo: {attempt} incorrect password attempt" + ("s" if attempt > 1 else "")
            return f"\n{tried}" if attempt else "\nsudo: no password was provided"
        if ask(state, node, ["sudo-check", given.decode(errors="surrogateescape")])[2] == 0:
            if mode == "none":
                return f"{user} is not in the sudoers file.  This incident will be reported."
            return None
        write(2, b"Sorry, try again.\n")
    return "sudo: 3 incorrect password attempts"


def sudo(state: str, node: str, arguments: list[str]) -> int:
    """Become another user, as far as the other shims can tell, and run a command."""
    options, command = sudo_options(arguments)
    if not command and not {"-v", "-k", "-K"} & options.keys():
        write(2, b"usage: sudo [-ABkNnS] [-p prompt] [-u user] [VAR=value] [command [arg ...]]\n")
        return 1
    if not command and "-v" not in options:
        return 0  # sudo -k: nothing is remembered here
    refusal = authenticate(state, node, options)
    if refusal is None and command:
        refusal = become(options["-u"], command)
    if refusal is not None:
        write(2, f"{refusal}\n".encode())
        return 1
    return 0


def become(target: str, command: list[str]) -> str:
    """Turn into a command that runs as another user; returns only if there is no such command."""
    path = search(command[0], variable("PATH", "/usr/bin:/bin").split(":"))
    if path is None:
        return f"sudo: {command[0]}: command not found"
    caller = variable("USER", "ops")
    home = "/root" if target == "root" else f"/home/{target}"
    new = {"SUDO_USER": caller, "USER": target, "LOGNAME": target, "HOME": home}
    environment = {**posix.environ, **{k.encode(): v.encode() for k, v in new.items()}}
    try:
        posix.execve(path, command, environment)
    except OSError as error:
        reason = error.strerror
    return f"sudo: unable to execute {path}: {reason}"


def main() -> int:
    """Do what the name that this was called by stands for."""
    state, node, name, *arguments = sys.argv[1:]
    if name == "sudo":
        return sudo(state, node, arguments)
    output, error, status = ask(state, node, [name, *arguments])
    write(1, output)
    write(2, error)
    return status


if __name__ == "__main__":
    sys.exit(main())
