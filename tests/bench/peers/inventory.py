"""The bench's servers, for pyinfra: read from the file that the bench wrote."""

import json
import os
from pathlib import Path

_bench = json.loads(Path(os.environ["BENCH"]).read_text())
nodes = [
    (
        server["name"],
        {
            "ssh_hostname": "127.0.0.1",
            "ssh_port": server["port"],
            "ssh_user": "root",
            "ssh_key": _bench["key"],
            "ssh_known_hosts_file": _bench["known_hosts"],
            "ssh_strict_host_key_checking": "yes",
            "root": server["root"],
            "files": _bench["files"],
        },
    )
    for server in _bench["servers"]
]
