"""What a large cluster costs the controller: time and memory for 100, 250 and 500 nodes.

    python tests/bench/many_nodes.py [--nodes 100 250 500]

The same work on the same kind of servers as in ssh_work.py, by kubeharden alone, 32 nodes at a time. Printed for each
number of nodes: seconds of the SSH work in the first run (everything differs) and in the second (nothing is to be
done), seconds for each node, and the most memory that the process had. All nodes share this machine's processors with
the controller, which real nodes do not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from farm import farm
from ssh_work import FILES, HERE, facts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 250, 500])
    for count in parser.parse_args().nodes:
        with farm(count) as servers:
            bench = servers.folder / "bench.json"
            bench.write_text(json.dumps(facts(servers)))
            for kind in ("first", "second"):
                words = [sys.executable, HERE / "one_kubeharden.py", bench]
                printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
                memory, seconds = map(float, printed.split())
                sys.stdout.write(
                    f"{count:4} nodes, {kind:6} run: {seconds:6.1f} s, {1000 * seconds / count:5.0f} ms a node, "
                    f"{memory:4.0f} MiB\n"
                )
                sys.stdout.flush()
            if any(
                (server.root / path.lstrip("/")).read_text() != content
                for server in servers.servers
                for path, content in FILES.items()
            ):
                sys.exit("a node is not as it should be")


if __name__ == "__main__":
    main()
