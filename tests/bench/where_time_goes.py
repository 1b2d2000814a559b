"""How long `papermill harden.ipynb` takes on article-1.10, and where the time goes.

    python tests/bench/where_time_goes.py [RUNS]

Runs the notebook RUNS times (5) in fresh folders after one run that does not count, and prints medians in seconds:
the whole command, what the cells took by papermill's own timestamps, and the rest, which is Python, Jupyter and
papermill starting and ending.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path) -> tuple[float, dict[str, float]]:
    """Seconds of one whole run, and of each of its cells by what it calls."""
    out = folder / "out.ipynb"
    command = [sys.executable, "-m", "papermill", ROOT / "notebooks" / "harden.ipynb", out]
    words = ["-p", "dns_ip", "10.0.0.10", "-r", "output_dir", str(folder), "--no-progress-bar"]
    start = time.perf_counter()
    subprocess.run([*command, *words], check=True, capture_output=True)
    total = time.perf_counter() - start
    cells = {}
    for cell in json.loads(out.read_text())["cells"]:
        if cell["cell_type"] == "code" and "injected-parameters" not in cell["metadata"]["tags"]:
            name = "".join(cell["source"]).strip().splitlines()[-1]
            cells[name] = cell["metadata"]["papermill"]["duration"]
    return total, cells


def main(runs: int) -> None:
    """Measure and print."""
    results = []
    for _ in range(runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            results.append(run(Path(folder)))
    counted = results[1:]
    total = statistics.median(seconds for seconds, _ in counted)
    cells = {name: statistics.median(taken[name] for _, taken in counted) for name in counted[0][1]}
    spread = f"{min(s for s, _ in counted):.1f} to {max(s for s, _ in counted):.1f}"
    sys.stdout.write(f"whole command: median {total:.1f} s of {runs} runs ({spread})\n")
    sys.stdout.write(
        f"  starting and ending Python, Jupyter and papermill: {total - sum(cells.values()):.1f} s\n"
    )
    for name, seconds in sorted(cells.items(), key=lambda item: -item[1]):
        sys.stdout.write(f"  {seconds:6.2f} s  {name}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
