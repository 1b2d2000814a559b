"""The floor of the bench: bare paramiko, one connect and one exec on each server. Prints the seconds that took."""

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko

bench = json.loads(Path(sys.argv[1]).read_text())
key = paramiko.Ed25519Key.from_private_key_file(bench["key"])
known = paramiko.HostKeys(bench["known_hosts"])


def visit(server: dict) -> None:
    """Connect, run one command, and be gone."""
    with paramiko.SSHClient() as client:
        sock = socket.create_connection(("127.0.0.1", server["port"]))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for kind, host_key in known[f"[127.0.0.1]:{server['port']}"].items():
            client.get_host_keys().add(f"[127.0.0.1]:{server['port']}", kind, host_key)
        client.connect("127.0.0.1", server["port"], "root", pkey=key, sock=sock, look_for_keys=False)
        _, out, _ = client.exec_command("true")
        if out.channel.recv_exit_status():
            sys.exit(f"{server['name']}: true failed")


start = time.perf_counter()
with ThreadPoolExecutor(max_workers=32) as pool:
    list(pool.map(visit, bench["servers"]))
print(time.perf_counter() - start)  # noqa: T201
