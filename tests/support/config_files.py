"""Random config files and command lines, valid and not: what people have on nodes, and what nobody should have."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import yaml

from flag_sets import flag_set
from kubeharden.releases import Field, ReleaseTable

# Of each type of the tables: values that it has, and the same for values of any type.
BY_TYPE: dict[str, tuple[Any, ...]] = {
    "bool": (True, False),
    "int32": (0, 1, 50, 65535, -1, 2**31 - 1),
    "int64": (0, 5, 2**40),
    "uint32": (0, 5),
    "float64": (0.5, 1, 0),
    "float32": (0.5, 1),
    "duration": ("0s", "10s", "1m30s", "2h0m0s", "250ms", "0"),
    "quantity": ("100Mi", "0", 5),
    "ip": ("0.0.0.0", "::", "10.0.0.1", ""),
    "address": ("0.0.0.0:10256", "127.0.0.1", "[::1]:80", ""),
    "object": ({}, None),
    "list(string)": ([], ["10.0.0.10"], ["a", "b, c", "# d"]),
    "list(int32)": ([], [0, 1]),
    "list(taint)": (
        [],
        [{"key": "a", "effect": "NoSchedule"}],
        [{"key": "a", "value": "b", "effect": "NoExecute"}],
    ),
    "list(object)": ([], [{"numaNode": 0, "limits": {"memory": "1Gi"}}], [{"schedulerName": "mine"}]),
    "list({filePattern,verbosity})": ([], [{"filePattern": "a*", "verbosity": 3}]),
    "map(string,string)": ({}, {"memory.available": "100Mi"}, {"cpu": "100m", "memory": "1Gi"}),
    "map(string,bool)": ({}, {"A": True, "RotateKubeletServerCertificate": False}),
    "map(string,list(string))": ({}, {"Accept": ["a", "b"]}),
}
STRINGS = (
    "",
    "a",
    "/etc/kubernetes/pki/ca.crt",
    "relative/path",
    "yes",
    "1e3",
    "0x1f",
    "null",
    "y",
    "é # x",
    "a: b",
    "l1\nl2",
)
ODD = (
    None,
    True,
    0,
    -1,
    7,
    2**70,
    1.5,
    "",
    "x",
    "60",
    "10s",
    "0.0.0.0:²",
    [],
    [None],
    [[1]],
    [{}],
    {},
    {"a": None},
    {"a": {"b": 1}},
)
KEYS = (
    "nodefs.available",
    "authentication.anonymous.enabled",
    "maxpods",
    "MaxPods",
    "a.b",
    "x[0]",
    'q"x',
    "",
    "kind",
    "üx",
    "<<",
)
WORDS = (
    "--node-labels=a", "--node-labels=a,b=c", "--config=/a", "--config=/b", "--config", "--port=0", "--healthz-port=0",
    "--kubeconfig=/etc/kubernetes/kubelet.conf", "--kubeconfig=", "--max-pods=many", "--nothing=1", "-x", "--", "-",
    "word", "--v", "-v", "--feature-gates=A", "--feature-gates=A=true,B=maybe", "--eviction-hard=memory.available<",
    "--system-reserved=cpu", "--register-with-taints=a", "--reserved-memory=0:memory", "--address=::1", "--address=",
    "--vmodule=a", "--tls-cipher-suites=a,\"b", "--container-log-max-files=010", "--client-ca-file=/ca",
    "--authentication-token-webhook", "--write-config-to=/x",
)  # fmt: skip


def command_line(rng: random.Random, table: ReleaseTable) -> list[str]:
    """The words after the program's name; with some luck, the component takes them."""
    words = flag_set(rng, table, share=rng.choice([0.02, 0.1, 0.3]))
    if table.component == "kubelet" and rng.random() < 0.8:
        words += ["--client-ca-file=/ca.pem", "--kubeconfig=/kubelet.kubeconfig"]
    if rng.random() < 0.3:
        words += rng.sample(WORDS, rng.randint(1, 3))
    return words


def content(rng: random.Random, table: ReleaseTable) -> dict[str, Any]:
    """A config file's content; with some luck, one that the component takes."""
    made: dict[str, Any] = {}
    wild = rng.random() < 0.4
    names = list(table.fields)
    for path in rng.sample(names, min(len(names), rng.randint(0, 12))):
        value = rng.choice(ODD) if wild and rng.random() < 0.3 else _value(rng, table.fields[path])
        _put(made, path.split("."), value)
    if wild:
        for _ in range(rng.randint(0, 2)):
            _put(
                rng.choice([made, *(v for v in made.values() if isinstance(v, dict))]),
                [rng.choice(KEYS)],
                rng.choice(ODD),
            )
    if rng.random() < 0.9:
        made = {"apiVersion": table.api_version, **made, "kind": table.kind}
    elif rng.random() < 0.5:
        made |= {
            "apiVersion": rng.choice([1, None, "v1", "kubelet.config.k8s.io/v1beta1", *table.api_versions])
        }
    return made


# What may follow a document; no component reads it.
MORE = ("\n---\n", "\n...\n", "\n--- # more\nkind: Other\nmaxPods: 7 # more\n", "\n---\n[ {\n")


def _with_aliases(rng: random.Random, value: dict[str, Any]) -> str:
    """The content as YAML with comments, in which some lists and mappings stand once, and again as aliases."""
    made = copy.deepcopy(value)
    holders = [made, *(part for part in made.values() if isinstance(part, dict))]
    values = [
        part for holder in holders for part in holder.values() if isinstance(part, (dict, list)) and part
    ]
    for _ in range(2):
        holder, part = rng.choice(holders), rng.choice(values or [{}])
        if holder is not part:
            holder[rng.choice([*holder, *KEYS])] = part
    try:
        text = yaml.safe_dump(made, sort_keys=False, default_flow_style=rng.choice([False, False, None]))
    except RecursionError:
        return "{}"
    lines = text.rstrip("\n").split("\n")
    remarks = (rng.choice(["", "", f" # of Bert, {number}"]) for number in range(len(lines)))
    return "\n".join(
        line + remark if line.endswith((":", "]")) else line
        for line, remark in zip(lines, remarks, strict=True)
    )


def spell(rng: random.Random, value: dict[str, Any]) -> str:
    """The content as a text: JSON, or YAML with comments, in the styles that people use."""
    if rng.random() < 0.15:
        return json.dumps(value, indent=rng.choice([None, 2, "\t"])) + rng.choice(["", "\n"])
    if not value:
        return rng.choice(["{}\n", "{} # nothing\n"])
    lead, tail = rng.choice(["", "", "\ufeff"]), rng.choice(["", "\n", "\n# end\n", *MORE])
    if rng.random() < 0.1:
        return lead + _with_aliases(rng, value) + tail
    text = rng.choice(["", "# of Anna\n", "---\n", "# of Anna\n---\n"]) + _block(rng, value, 0) + tail
    return lead + (text.replace("\n", "\r\n") if rng.random() < 0.05 else text)


def _block(rng: random.Random, value: dict[str, Any], column: int) -> str:
    blanks, lines = " " * column, []
    for name, item in value.items():
        if rng.random() < 0.2:
            lines.append(f"{blanks}# {rng.random()}")
        tail = f" # {rng.random()}" if rng.random() < 0.3 else ""
        key = json.dumps(name, ensure_ascii=False) if rng.random() < 0.1 or not name.isalpha() else name
        if isinstance(item, dict) and item and rng.random() < 0.8:
            lines += [f"{blanks}{key}:{tail}", _block(rng, item, column + rng.choice([1, 2, 4]))]
        elif isinstance(item, list) and item and rng.random() < 0.8:
            inner = blanks + " " * rng.choice([0, 2])
            lines += [f"{blanks}{key}:{tail}", *(f"{inner}- {_flow(each)}{tail}" for each in item)]
        else:
            lines.append(f"{blanks}{key}: {'' if item is None and rng.random() < 0.5 else _flow(item)}{tail}")
    return "\n".join(lines)


def _flow(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _value(rng: random.Random, field: Field) -> Any:
    if field.default is not None and rng.random() < 0.3:
        return field.default
    return rng.choice(BY_TYPE.get(field.type, STRINGS))


def _put(here: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        below = here.setdefault(key, {})
        if not isinstance(below, dict):
            return
        here = below
    here[keys[-1]] = copy.deepcopy(value)
