"""Components of the lab's nodes started with flags of our choice, and what they then run with.

The kubelet's service gets a drop-in under /run that takes the place of its command; nothing else of the node is
touched, and `lab.py reset` undoes it. Its configuration is read on the node itself, with the API server's client
certificate: a kubelet may listen on the loopback only, and the way through the API server takes a minute to learn of
another port.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from machines import ssh
from places import PKI, Node
from steps import LabError

DROP_IN = "/run/systemd/system/kubelet.service.d/flag-set.conf"
CLIENT = "/run/flag-sets/client"  # certificate and key
CONFIG = "/etc/kubernetes/flag-set.conf"
SECONDS = 40

# Waits until the kubelet serves, or has ended. Its state of the CPU manager is for one policy only, so each command
# line begins without one (cpu_manager.go: "configured policy … differs from state checkpoint policy").
START = f"""
set -e
systemctl stop kubelet
rm -f /var/lib/kubelet/cpu_manager_state
systemctl daemon-reload
systemctl reset-failed kubelet
systemctl start kubelet
set +e
pid=$(systemctl show -p MainPID --value kubelet)
id=$(systemctl show -p InvocationID --value kubelet)
rm -f /run/flag-sets/configz
end=$(($(date +%s) + {SECONDS}))
until curl -sfk --max-time 5 --cert {CLIENT}.crt --key {CLIENT}.key -o /run/flag-sets/configz "$URL/configz"; do
  [ -d /proc/$pid ] && [ "$(date +%s)" -lt $end ] || break
  sleep 0.1
done
journalctl --sync
echo "@log"
journalctl -q --no-pager -o cat _SYSTEMD_INVOCATION_ID=$id | head -n 100000
echo "@configz"
cat /run/flag-sets/configz 2>/dev/null || true
"""
# kube-proxy alone with itself: with --bind-address it asks the API server for nothing before it serves /configz.
PROXY = """
cd /run/flag-sets
unshare --net sh -c 'ip link set lo up; ip addr add 10.1.2.3 dev lo; ip addr add fd00::12 dev lo nodad; exec "$@"' \
  sh sh -c '
  /usr/bin/kube-proxy "$@" >proxy.log 2>&1 &
  pid=$!
  n=0
  until curl -sf --max-time 2 -o configz "$URL/configz" || [ $((n += 1)) -gt 150 ] || [ ! -d /proc/$pid ]; do
    sleep 0.1
  done
  kill $pid
  wait $pid' sh "$@"
"""


@dataclass(frozen=True)
class Ran:
    """What a component was seen to run with: None where it did not come up; and its log."""

    configz: dict[str, Any] | None
    log: list[str]

    def deprecated(self) -> list[str]:
        """The flags that it warned of, by name."""
        lines = (re.match(r"Flag (--\S+) has been deprecated", line) for line in self.log)
        return [found[1] for found in lines if found]

    def end(self) -> str:
        """Why it did not come up: its last words, before klog prints what every goroutine did."""
        stacks = (number for number, line in enumerate(self.log) if line.startswith("goroutine "))
        return "\n".join(self.log[: next(stacks, None)][-2:])


def prepare(node: Node) -> None:
    """Put the API server's client certificate on a node."""
    name = "apiserver-kubelet-client"
    files = {
        f"{CLIENT}.crt": (PKI / f"{name}.crt").read_text(),
        f"{CLIENT}.key": (PKI / f"{name}.key").read_text(),
    }
    as_root(
        node,
        "umask 077; mkdir -p /run/flag-sets\n" + "".join(_put(path, text) for path, text in files.items()),
    )


def as_root(node: Node, script: str, timeout: float = 120) -> str:
    return ssh(node, "sudo sh -s", text=script, timeout=timeout)


def kubelet(node: Node, argv: Sequence[str], config: str = "") -> Ran:
    """Restart the node's kubelet with this command line, and look what it runs with.

    Args:
        config: the file that ``--config`` names.
    """
    command = " ".join(map(_quoted, argv))
    script = _put(DROP_IN, f"[Service]\nExecStart=\nExecStart={command}\n") + _put(CONFIG, config)
    said = as_root(node, f"{script}\nURL={_kubelet_url(argv, config)}\n{START}")
    log, found, configz = said.partition("\n@configz\n")
    if not found:
        raise LabError(f"the script on {node.name} was cut off: {said[-500:]}")
    return Ran(
        json.loads(configz)["kubeletconfig"] if configz.strip() else None,
        log.partition("@log\n")[2].splitlines(),
    )


def kube_proxy(node: Node, argv: Sequence[str], address: str, files: Mapping[str, str]) -> Ran:
    """Run kube-proxy on a loopback of its own on a node.

    Args:
        address: where it serves its metrics, and with them its configuration.
        files: what its command line names, by path.
    """
    puts = "".join(_put(path, text) for path, text in files.items())
    words = " ".join(_for_shell(word) for word in argv[1:])
    tail = '\necho "@log"\ncat proxy.log\necho "@configz"\ncat configz 2>/dev/null; rm -f configz\n'
    script = f"mkdir -p /run/flag-sets\n{puts}\nset -- {words}\nexport URL=http://{address}\n{PROXY}{tail}"
    log, _, configz = as_root(node, script).partition("\n@configz\n")
    content = json.loads(configz) if configz.strip() else {}
    return Ran(next(iter(content.values()), None), log.partition("@log\n")[2].splitlines())


def _kubelet_url(argv: Sequence[str], config: str) -> str:
    """Where it serves: the last port that is said, in the file or as a flag. Every address of ours has the loopback."""
    ports = re.findall(r"^port: (\d+)", config, re.MULTILINE) + re.findall(r"--port[= ](\d+)", " ".join(argv))
    return f"https://127.0.0.1:{ports[-1] if ports else 10250}"


def _put(path: str, text: str) -> str:
    """Shell commands that write a file, whatever is in it."""
    content = base64.b64encode(text.encode()).decode()
    return f"mkdir -p \"$(dirname '{path}')\"\nbase64 -d >'{path}' <<'END'\n{content}\nEND\n"


def _quoted(word: str) -> str:
    """A word of a command as systemd reads it: quoted, without variables and specifiers."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(plain, escaped)
    return f'"{word}"'


def _for_shell(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
