"""Loads a server with requests, and compares it with the tagger of the command `tag` on the same files.

    python -m benchmarks.serve_load OUT clips/*.wav --requests 1000 --at-once 32

The server is a process of its own, and listens at this machine alone. The requests and the tagger take turns, so that
both see the machine in the same state; the one that waits does nothing. Every answer is compared with that of the
tagger. The memory of the server is that before the first and after the last turn. In the end, some requests are sent
one after the other beside eight hostile ones: sounds of ten minutes in 0.6 MB.
"""

import argparse
import asyncio
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import cycle, islice
from pathlib import Path

import httpx
import numpy as np
import soundfile

from audiotagging.tagging.loading import load_tagger
from audiotagging.tagging.tagger import Tagger

TURNS = 10
ALONE = 20  # requests per turn that are sent one after the other
HOSTILE = 8  # requests that are always in progress beside honest ones


class Server:
    """A server in a process of its own."""

    def __init__(self, models: Path, port: int) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "pipeline.py", "serve", "--models", str(models), "--port", str(port), "--drain", "0"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        found = re.search("http://.*", line)
        if not found:
            raise SystemExit(f"the server did not start: {line}")
        self.url = found[0]

    def memory(self) -> float:
        """Return its resident memory in megabytes."""
        text = httpx.get(f"{self.url}/metrics").text
        return float(re.findall(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)[0]) / 1e6

    def end(self) -> int:
        """End it, and return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)


async def load(
    url: str, files: list[tuple[str, bytes]], *, at_once: int
) -> tuple[float, list[float], list[httpx.Response]]:
    """Send the files, so many at once. Return the seconds that this took, and of every file its seconds and answer."""
    places = asyncio.Semaphore(at_once)

    async with httpx.AsyncClient(base_url=url, timeout=300, limits=httpx.Limits(max_connections=None)) as client:

        async def send(content: bytes) -> tuple[float, httpx.Response]:
            async with places:
                begin = time.perf_counter()
                answer = await client.post("/tag", content=content, params={"top": 1000})
                return time.perf_counter() - begin, answer

        begin = time.perf_counter()
        found = await asyncio.gather(*(send(content) for _, content in files))
        total = time.perf_counter() - begin
    return total, [seconds for seconds, _ in found], [answer for _, answer in found]


async def load_beside_hostile(url: str, files: list[tuple[str, bytes]]) -> list[float]:
    """Send the files one after the other while hostile requests are in progress. Return the seconds of each."""
    content = io.BytesIO()
    soundfile.write(content, np.random.default_rng(0).uniform(-1, 1, 599_000), 1000, format="WAV", subtype="PCM_U8")

    async def attack() -> None:
        while True:
            await load(url, [("hostile", content.getvalue())], at_once=1)

    attacks = [asyncio.create_task(attack()) for _ in range(HOSTILE)]
    await asyncio.sleep(1)  # until they are in progress
    _, latencies, _ = await load(url, files, at_once=1)
    for each in attacks:
        each.cancel()
    await asyncio.wait(attacks)
    return latencies


def tag(tagger: Tagger, paths: list[Path]) -> tuple[float, dict[str, dict[str, float]]]:
    """Return the seconds that the tagger takes for some files together, and the scores of every file by label."""
    begin = time.perf_counter()
    tagged = list(tagger.tag(paths))
    scores = {
        str(file.path): dict(zip(tagger.classes, file.scores.tolist(), strict=True))
        for file in tagged
        if file.scores is not None
    }
    return time.perf_counter() - begin, scores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve_load", description=__doc__)
    parser.add_argument("models", type=Path, metavar="OUT", help="output of a run")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="sounds")
    parser.add_argument("--requests", type=int, default=1000, help="number of requests (default: 1000)")
    parser.add_argument("--at-once", type=int, default=32, help="requests in progress at once (default: 32)")
    parser.add_argument("--port", type=int, default=0, help="port of the server (default: any)")
    args = parser.parse_args()

    server, tagger = Server(args.models, args.port), load_tagger(args.models)
    contents = {path: path.read_bytes() for path in args.files}
    paths = list(islice(cycle(args.files), args.requests))
    statuses: Counter[int] = Counter()
    differences, latencies, alone, one, together, tagged = [], [], [], [], 0.0, 0.0
    turns = [paths[turn::TURNS] for turn in range(TURNS)]
    asyncio.run(load(server.url, [(str(path), contents[path]) for path in turns[0]], at_once=args.at_once))  # warm up
    memory = [server.memory()]
    for turn in turns:
        seconds, expected = tag(tagger, turn)
        tagged += seconds
        one += [tag(tagger, [path])[0] for path in turn[:ALONE]]
        files = [(str(path), contents[path]) for path in turn]
        seconds, each, answers = asyncio.run(load(server.url, files, at_once=args.at_once))
        together += seconds
        latencies += each
        alone += asyncio.run(load(server.url, files[:ALONE], at_once=1))[1]
        memory.append(server.memory())
        statuses.update(answer.status_code for answer in answers)
        for (name, _), answer in zip(files, answers, strict=True):
            if answer.status_code == httpx.codes.OK:
                found = {row["label"]: row["score"] for row in json.loads(answer.text)[0]["tags"]}
                differences.append(max(abs(found[label] - score) for label, score in expected[name].items()))
    beside = asyncio.run(load_beside_hostile(server.url, files[:ALONE]))
    code = server.end()

    print(f"{args.requests} requests, {args.at_once} at once: statuses {dict(statuses)}, exit code {code}")
    print(f"largest difference of a score from the tagger's: {max(differences):.2g}")
    print(f"memory in MB before and after every turn: {', '.join(f'{each:.0f}' for each in memory)}")
    rows = {
        "sounds/s": (args.requests / together, args.requests / tagged),
        "ms, one request after the other, median": (1e3 * np.median(alone), 1e3 * np.median(one)),
        f"ms, {args.at_once} at once, median": (1e3 * np.median(latencies), 1e3 * np.median(one)),
        f"ms, {args.at_once} at once, 99 %": (1e3 * np.quantile(latencies, 0.99), 1e3 * np.median(one)),
        f"ms, beside {HOSTILE} hostile ones, median": (1e3 * np.median(beside), 1e3 * np.median(one)),
        f"ms, beside {HOSTILE} hostile ones, slowest": (1e3 * max(beside), 1e3 * np.median(one)),
    }
    print(f"{'':42}{'server':>10}{'tagger':>10}{'ratio':>8}")
    for name, (ours, other) in rows.items():
        print(f"{name:42}{ours:10.2f}{other:10.2f}{ours / other:8.2f}")


if __name__ == "__main__":
    main()
