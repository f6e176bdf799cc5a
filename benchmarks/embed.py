"""Embed many texts with one contender, in a separate process, to measure its memory.

`python -m benchmarks.embed SIDE CONTENDER ORIGIN TEXTS` prints the wall time and CPU time in seconds, the peak growth
of resident memory as a multiple of the size of the vectors, and whether the vectors are in order.
"""

from __future__ import annotations

import gc
import json
import sys
import time

from benchmarks.bench import load

WARM = 20  # texts embedded first, so that imports, connections and threads exist


def memory(field: str) -> int:
    """Return the bytes in a field of /proc/self/status."""
    with open("/proc/self/status") as status:
        [line] = [line for line in status if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024


def main() -> None:
    side_name, name, origin, count = sys.argv[1:]
    embed = load(side_name).EMBEDDERS[name](origin)
    embed([f"warm {number}" for number in range(WARM)])
    texts = [f"text number {number}" for number in range(int(count))]
    gc.collect()
    resident, began, spent = memory("VmRSS"), time.monotonic(), time.process_time()
    vectors = embed(texts)
    wall, cpu = time.monotonic() - began, time.process_time() - spent
    grew = memory("VmHWM") - resident
    size = sum(sys.getsizeof(vector) + sum(map(sys.getsizeof, vector)) for vector in vectors)
    # the first number of each vector is the index of its text
    order = [int(vector[0]) for vector in vectors] == [*range(len(texts))]
    print(json.dumps({"wall": wall, "cpu": cpu, "memory": grew / size, "order": order}), flush=True)


if __name__ == "__main__":
    main()
