"""Random services: a unit, drop-ins and environment files as people and programs write them, well or badly."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from flag_sets import flag_set
from kubeharden.components.commands import quote
from kubeharden.releases import ReleaseTable

DESCRIPTIONS = ("Description=x", "Description=a \\\n b", "Description=%i")
JUNK = (
    *(
        "a",
        "-",
        "--",
        "--x",
        "=",
        ",",
        " ",
        "\t",
        '"',
        "'",
        "\\",
        "\\\\",
        "%",
        "%%",
        "%H",
        "%i",
        "%n",
        "$A",
        "${A}",
    ),
    *(
        "$",
        "$$",
        "${B",
        "}",
        ";",
        " ; ",
        "#",
        "\\x2d",
        "\\055",
        "\\u002d",
        "\\q",
        "ä",
        "\udcff",
        "\ufeff",
        "\x01",
    ),
    *("\ufdd0", "\\\n", "\\\n# c\n  ", "\r", "\u2028", "[Service]", "\x85", "-v=2", "--v", "2"),
)
STARTS = (
    *("{}", "{}", "{}", "{}", "-{}", ":{}", "@{} {name}", "/usr/bin/env A=1 nice {}", "/bin/nice -n 5 {}"),
    *("tini -- {}", "/usr/bin/hyperkube {name}", "/opt/hyperkube-1.2 {short}", "/bin/sh -c 'exec {}"),
    *(
        '/bin/bash -lc "{}',
        "/usr/bin/docker run --rm x {name}",
        "/opt/bin/start-{name}.sh",
        "env podman run {}",
    ),
    *("/usr/local/bin/k3s agent", "/usr/lib/coreos/{name}-wrapper", "/bin/true ; {}", "$BIN/{name}", '"{}"'),
    *("+!!{}", "{name}", "/bin/sh -c 'cd /; {}"),
)
VALUES = (
    *(
        "--v=2",
        "'--v=2'",
        '"--v=2 --hostname-override=n"',
        "--hostname-override=%H",
        "x\\x2dy",
        "",
        "a b",
        "'",
    ),
    *('"\\', "%"),
)


@dataclass
class RandomService:
    """The files of a service.

    Attributes:
        unit: its unit file.
        drop_ins: by their names.
        environment: environment files, by path.
        is_foreign: whether the unit is that of a package.
    """

    unit: str
    drop_ins: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    is_foreign: bool = False


def random_service(seed: int, table: ReleaseTable) -> RandomService:
    """A service of the table's component."""
    chance = random.Random(seed)
    made = RandomService(_unit(chance, table), is_foreign=chance.random() < 0.3)
    for name in chance.sample(("10-a.conf", "20-b.conf", "90-c.conf"), k=chance.choice((0, 0, 0, 1, 2))):
        reset = chance.choice(("ExecStart=\n", "ExecStart=\n", "ExecStart=\n", ""))
        body = f"{reset}{_command(chance, table)}\n" if chance.random() < 0.6 else _lines(chance)
        made.drop_ins[name] = f"[Service]\n{body}"
    for path in ("/etc/default/x", "/etc/default/y"):
        if chance.random() < 0.9:
            made.environment[path] = _environment_file(chance)
    return made


def _unit(chance: random.Random, table: ReleaseTable) -> str:
    end = chance.choice(("\n", "\n", "\n", "\r\n"))
    mark = chance.choice(("", "", "", "\ufeff"))
    parts = [
        f"{mark}[Unit]\n{chance.choice(DESCRIPTIONS)}",
        "",
        chance.choice(("[Service]", "[Service]", " [Service] ", "[Service]\n# c \\")),
        _lines(chance),
        _command(chance, table),
        _lines(chance),
        "[Install]\nWantedBy=multi-user.target",
    ]
    return "\n".join(parts).replace("\n", end)


def _lines(chance: random.Random) -> str:
    made = []
    for _ in range(chance.randrange(4)):
        name = chance.choice("ABCX")
        value = chance.choice(VALUES) if chance.random() < 0.7 else _junk(chance)
        made.append(
            chance.choice(
                (
                    f"Environment={name}={value}",
                    f'Environment="{name}={value}"',
                    "Environment=",
                    "EnvironmentFile=-/etc/default/x",
                    "EnvironmentFile=-/etc/default/*",
                    "EnvironmentFile=/etc/default/y",
                    "PassEnvironment=A B",
                    f"UnsetEnvironment={name}",
                    "User=root",
                    "Restart=always",
                    "# a comment \\",
                    _junk(chance),
                )
            )
        )
    return "\n".join(made)


def _command(chance: random.Random, table: ReleaseTable) -> str:
    name = table.component
    start = chance.choice(STARTS)
    flags = flag_set(chance, table, share=0.05)
    if chance.random() < 0.8:
        flags = [quote(flag) for flag in flags]
    some = ["$A", "${B}", '"$C"', "--hostname-override=%H", "--v=${X}2"]
    extra = chance.sample(some, k=chance.randrange(3))
    if chance.random() < 0.3:
        extra.append(_junk(chance))
    words = [*flags, *extra] if chance.random() < 0.5 else [*extra, *flags]
    head = start.format(f"/usr/bin/{name}", name=name, short=name.removeprefix("kube-"))
    between = chance.choice((" ", " ", " \\\n  ", "\t", " \\\n# c\n  "))
    close = {"'": "'", '"': '"'}.get(next((char for char in start if char in "'\""), ""), "")
    return "ExecStart=" + between.join([head, *words]) + (close if start.count(close or "x") == 1 else "")


def _junk(chance: random.Random) -> str:
    return "".join(chance.choices(JUNK, k=chance.randrange(1, 8)))


def _environment_file(chance: random.Random) -> str:
    lines = []
    for _ in range(chance.randrange(5)):
        name = chance.choice(("A", "B", "C", "X", "export A", "1", ""))
        value = chance.choice(VALUES) if chance.random() < 0.6 else _junk(chance)
        lines.append(
            chance.choice(
                (f"{name}={value}", f"{name}='{value}'", f'{name}="{value}\n{value}"', "# c \\", value)
            )
        )
    return chance.choice(("\n", "\r\n")).join(lines)
