"""Fifty clients at once against ``percert app`` on loopback: no 5xx, and memory that stays flat.

    python -m experiments speed.app --clients 50 --rounds 6 --out docs/results

Starts the server as a process of its own. For so many rounds every client compares, judges, asks
what there is and sends something broken; some start an attack and cancel it. Says how often each
status came, how long answers took, and what memory the server and its workers held after each
round; writes ``app-load.json``.
"""

import argparse
import contextlib
import io
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from experiments.conditions import conditions, write_result


def picture(seed: int, side: int = 256) -> bytes:
    """A smooth random JPEG."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    held = io.BytesIO()
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(held, "JPEG")
    return held.getvalue()


def one_round(address: str, seed: int, statuses: Counter[str], times: list[float]) -> None:
    """What one client asks in one round."""
    images = [picture(seed % 16 + at) for at in range(3)]
    pair = {"reference": ("a.jpg", images[0]), "candidate": ("b.jpg", images[1])}
    three = {"reference": images[0], "left": images[1], "right": images[2]}
    broken = {"reference": ("a.jpg", images[0][:500]), "candidate": ("b.jpg", b"nothing")}
    with httpx.Client(base_url=f"{address}/api/v1", timeout=300) as client:
        for path, files in (("/compare", pair), ("/judge", three), ("/compare", broken)):
            began = time.perf_counter()
            answer = client.post(path, files=files)
            times.append(time.perf_counter() - began)
            statuses[f"{path} {answer.status_code}"] += 1
        statuses[f"/about {client.get('/about').status_code}"] += 1
        if seed % 10 == 0:
            job = client.post("/compare/attack", files=pair)
            statuses[f"/compare/attack {job.status_code}"] += 1
            if job.status_code == 202:
                cancelled = client.delete(f"/jobs/{job.json()['id']}")
                statuses[f"DELETE /jobs {cancelled.status_code}"] += 1


def memory(pid: int) -> float:
    """MiB of a process and all below it; what several share counts once."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, new = set(), {pid}
    while new:
        found |= new
        new = {child for child, parent in parents.items() if parent in new}
    held = 0
    for one in found:
        with contextlib.suppress(OSError):  # one that has just ended
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
            held += sum(int(size) for size in re.findall(r"^Pss:\s+(\d+)", text, re.M))
    return held / 1024


def start() -> tuple[subprocess.Popen[str], str]:
    """The server, and where it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "percert", "app", "--port", "0", "--api-only"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://[\d.]+:\d+", line)
    if found is None:
        raise SystemExit(line)
    return process, found.group(0)


def main() -> None:
    """Run it, and exit with 1 where a 5xx came or memory grew by more than a tenth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", type=Path, help="folder of results; printed if not given")
    asked = parser.parse_args()
    process, address = start()
    statuses: Counter[str] = Counter()
    held: list[float] = []
    times: list[float] = []
    try:
        for turn in range(asked.rounds):
            threads = [
                threading.Thread(
                    target=one_round,
                    args=(address, turn * asked.clients + client, statuses, times),
                )
                for client in range(asked.clients)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            held.append(memory(process.pid))
            print(f"round {turn + 1}: {held[-1]:.0f} MiB", flush=True)
        well = httpx.get(f"{address}/api/v1/health", timeout=60).json()
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    for name, count in sorted(statuses.items()):
        print(f"{count:6d}  {name}")
    first, middle, last = statistics.quantiles(times, n=4)
    print(f"answers: median {middle:.2f} s, quartiles {first:.2f} to {last:.2f} s")
    print(f"health after: {well}; exit status {code}")
    failed = sum(count for name, count in statuses.items() if re.search(r" 5\d\d$", name))
    # The first rounds load what is loaded once.
    growth = held[-1] / held[len(held) // 2] - 1 if len(held) > 2 else 0.0
    print(f"5xx: {failed}; memory from the middle round to the last: {growth:+.1%}")
    if asked.out is not None:
        result = {
            "benchmark": "app_load",
            "clients": asked.clients,
            "rounds": asked.rounds,
            "statuses": dict(sorted(statuses.items())),
            "failed": failed,
            "seconds_median": middle,
            "seconds_quartiles": [first, last],
            "memory_mib": held,
            "conditions": asdict(conditions(seed=0)),
        }
        write_result(asked.out / "app-load.json", result)
    raise SystemExit(1 if failed or growth > 0.1 or code else 0)


if __name__ == "__main__":
    main()
