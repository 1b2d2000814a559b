"""The reason why a script did not run on a node, in words, and the way out. Pure."""

from __future__ import annotations

import re

# What a server or sudo says, what is wrong then, and the way out; the first that is found counts. sudo speaks English:
# it is asked in the C locale.
_REASONS = (
    (
        r"(?i)pam_nologin|system is (booting up|going down)",
        "nobody but root may log in there now, because it starts or stops",
        "Wait, and look again; what stays behind is /run/nologin or /etc/nologin",
    ),
    (
        r"(?i)login as the user",
        "the image lets another user in than {user}",
        "Name that user in the inventory (ssh.user)",
    ),
    (
        r"have a tty",
        "sudo wants a terminal there (requiretty)",
        "Put `Defaults:{user} !requiretty` into its sudoers, with visudo",
    ),
    (
        r"(?i)password (has|is|or account is) expired|or password is expired|password change required|change your pass",
        "the password of {user} has expired there",
        "Log in once by hand and set a new one, or let it not expire: sudo chage -M -1 {user}",
    ),
    (
        r"(?i)account (has|is) expired|account validation failure|account (is )?locked",
        "the account of {user} has expired there, or is locked",
        "See `sudo chage -l {user}` on the node",
    ),
    (
        r"(?i)account is (currently )?not available|nologin",
        "{user} has no login shell there",
        "Give {user} one (sudo usermod -s /bin/sh {user}), or name another ssh.user in the inventory",
    ),
    (
        r"(?i)sftp connections only",
        "{user} may only transfer files there (internal-sftp)",
        "Name another ssh.user in the inventory",
    ),
    (
        r"(?i): restricted|interactive git shell|not allowed in restricted|scponly|rssh",
        "{user} has a shell there that runs some commands alone",
        "Give {user} another one (sudo usermod -s /bin/sh {user}), or name another ssh.user in the inventory",
    ),
    (
        r"(?i)sudo.*(not found|no such file)",
        "there is not a program sudo",
        "Install it on the node, or log in as root (ssh.user: root)",
    ),
    (
        r"(?i)owned by uid 0|uid is not 0|no new priv|world writable|PERM_SUDO|unable to (init|load|open|exec)|unknown",
        "sudo cannot work there as it is installed, or as the login is confined",
        "Mend that on the node, or log in as root (ssh.user: root)",
    ),
    (
        r"sudo|password is required|is not allowed to (execute|run)|may not run",
        "{user} may not become root there",
        "Give {user} sudo on the node, or say sudo: password in the inventory",
    ),
)
# sudo complains of this and goes on.
_WARNING = re.compile(r"sudo: unable to resolve host .*\n?")


def refusal(node: str, user: str, status: int, output: str, *, of_script: bool = False) -> str:
    """Return why a script ended with an error.

    Args:
        status: of the script, or of what ran in its place; 0 where that ended well.
        output: what it complained of, without secrets.
        of_script: whether the script itself said so.
    """
    words = output or "without a word"
    if not of_script:
        for pattern, what, way_out in _REASONS:
            if re.search(pattern, _WARNING.sub("", output)):
                return f"{node}: {what.format(user=user)}: {output.removesuffix('.')}. {way_out.format(user=user)}"
    if not of_script:
        ended = "well and said" if status == 0 else f"with status {status}, before the script began"
        words = words.removesuffix(".")
        return (
            f"{node}: the login of {user} ran something else than it was told to, which ended {ended}: {words}. "
            "Is there a command= at the key in its authorized_keys, a ForceCommand in sshd_config, a second factor, or "
            "a login shell that runs no commands? Take it away, or log in with another key or user"
        )
    return f"{node}: the script ended with status {status}: {words}"
