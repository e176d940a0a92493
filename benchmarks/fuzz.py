"""Feed the library hostile files and answers, and count what it does with them.

python benchmarks/fuzz.py [--seconds 180] [--seed 0] [--case KIND:NUMBER]

Model files, checkpoints, manifests of stores and answers of a registry's server are damaged, or
forged with right hashes (`fuzz_cases.py`). A child process opens one after another; this one
watches it. A model that loads is asked for two days of a small record. The library may do what is
asked, or raise its own error. All else fails: another exception, a wrong field, NaN in silence, a
process that dies, no answer for 30 seconds, or 300 MB of memory above the start. The exit status is
1 then. ``--case`` repeats one case in this process.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from common import command, make_parser, one_thread, print_head, print_row, resident, run_facts

KINDS = ("model file", "checkpoint", "store manifest", "registry answer")
HANG = 30.0  # seconds
MOST = 300.0  # MB above the start
FLOOD = 2000.0  # MB above the start at which a process is stopped
START = 600.0  # seconds that a process may take to begin
FAILURES = 20  # after which nothing is tried any more


# -- the child ----------------------------------------------------------------------------------


def reset_peak() -> None:
    """Let the kernel begin anew to measure the peak of this process, where it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:  # the peak is that of all cases so far
        return


def peak() -> float:
    """Return the peak memory of this process since `reset_peak`, MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def open_case(kind: str, number: int | None, seed: int, bench: Any, loud: bool = False) -> Any:
    """Open one case, the sound one without a number, and tell what came of it."""
    from fuzz_cases import KINDS as FUNCTIONS

    import xdownscale as xd

    rng = None if number is None else np.random.default_rng([seed, KINDS.index(kind), number])
    outcome, text = "accepted", ""
    with tempfile.TemporaryDirectory() as folder:
        reset_peak()
        begun = time.perf_counter()
        try:
            text = FUNCTIONS[kind](rng, Path(folder), bench)
            outcome = "wrong" if text else "accepted"
        except xd.errors.XDownscaleError as err:
            outcome, text = "refused", f"{type(err).__name__}: {err}"
        except (Exception, SystemExit) as err:
            where = traceback.extract_tb(err.__traceback__)[-1]
            outcome = "foreign"
            text = f"{type(err).__name__}: {err} ({Path(where.filename).name}:{where.lineno})"
            if loud:
                traceback.print_exc()
        seconds = time.perf_counter() - begun
    return {"outcome": outcome, "text": text[:300], "seconds": seconds, "peak": peak()}


def work(seed: int) -> None:
    """Answer each line of the standard input, a case, with a line."""
    with os.fdopen(os.dup(1), "w") as answers, tempfile.TemporaryDirectory() as folder:
        os.dup2(2, 1)  # what the library prints is no answer
        bench = sound_bench(Path(folder), seed)
        print(json.dumps({"start": resident()}), file=answers, flush=True)
        for line in sys.stdin:
            kind, number = json.loads(line)
            print(json.dumps(open_case(kind, number, seed, bench)), file=answers, flush=True)


def sound_bench(folder: Path, seed: int) -> Any:
    """Return the sound files, each of which was opened once."""
    from fuzz_cases import Bench

    bench = Bench(folder)
    for kind in KINDS:
        found = open_case(kind, None, seed, bench, loud=True)
        if found["outcome"] != "accepted":
            raise SystemExit(f"a sound {kind} is not accepted: {found['text']}")
    return bench


# -- the parent ---------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of the cases of one kind."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, 0)  # and which case it was
    peak: float = 0.0
    seconds: float = 0.0
    cases: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, number: int, found: dict[str, Any]) -> None:
        """Count a case."""
        self.cases += 1
        self.counts[found["outcome"]] += 1
        self.slowest = max(self.slowest, (found["seconds"], number))
        self.peak = max(self.peak, found["peak"])
        failed = found["outcome"] not in ("accepted", "refused")
        if failed or found["peak"] > MOST:
            self.failures.append(
                f"case {number}, {found['outcome']}, {found['seconds']:.1f} s, "
                f"{found['peak']:.0f} MB: {found['text']}"
            )


class Child:
    """A process that opens cases, watched.

    Parameters
    ----------
    words : sequence of str
        Its command.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.process: subprocess.Popen[bytes] | None = None
        self.start = 0.0

    def ask(self, kind: str, number: int, hang: float = HANG) -> dict[str, Any]:
        """Have one case opened; a process that hangs, dies or takes all memory is replaced."""
        process = self.begin()
        before = time.perf_counter()
        with_stdin(process).write(f"{json.dumps([kind, number])}\n".encode())
        found = self._answer(process, hang)
        if "outcome" not in found:
            self.close()
            found |= {"outcome": found["silent"], "text": ""}
            found["seconds"] = time.perf_counter() - before
        return {**found, "peak": max(found["peak"] - self.start, 0.0)}

    def begin(self) -> subprocess.Popen[bytes]:
        """Return the process, which is ready for a case."""
        if self.process is None:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(
                self.words, stdin=pipe, stdout=pipe, bufsize=0, env=one_thread()
            )
            found = self._answer(self.process, START)
            if "start" not in found:
                self.close()
                raise SystemExit("the process that opens the cases does not begin")
            self.start = found["start"]
        return self.process

    def _answer(self, process: subprocess.Popen[bytes], limit: float) -> dict[str, Any]:
        """Return the next line, or why there is none."""
        end, memory, line = time.monotonic() + limit, 0.0, b""
        while not line.endswith(b"\n"):
            if select.select([process.stdout], [], [], 0.1)[0]:
                assert process.stdout is not None
                block = process.stdout.read(65536)
                if not block:
                    return {"silent": "died", "peak": memory}
                line += block
                continue
            memory = max(memory, memory_of(process.pid))
            if self.start and memory > self.start + FLOOD:
                return {"silent": "memory", "peak": memory}
            if time.monotonic() > end:
                return {"silent": "hang", "peak": memory}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def with_stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def memory_of(pid: int) -> float:
    """Return the resident memory of a process, MB; 0 where it has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0.0
    return int(pages) * os.sysconf("SC_PAGESIZE") / 2**20


def fuzz(
    words: Sequence[str], seconds: float, cases: int | None = None, hang: float = HANG
) -> dict[str, Tally]:
    """Have cases of all kinds opened, each kind for the same time, or so many of each."""
    tallies = {kind: Tally() for kind in KINDS}
    child = Child(words)
    try:
        while left := [
            kind
            for kind, tally in tallies.items()
            if tally.cases < (cases or sys.maxsize) and tally.seconds < seconds / len(KINDS)
        ]:
            kind = min(left, key=lambda kind: tallies[kind].seconds)
            tally = tallies[kind]
            child.begin()
            begun = time.perf_counter()
            tally.add(tally.cases, child.ask(kind, tally.cases, hang))
            tally.seconds += time.perf_counter() - begun
            if sum(len(each.failures) for each in tallies.values()) >= FAILURES:
                break
    finally:
        child.close()
    return tallies


def show(tallies: dict[str, Tally]) -> int:
    """Print the table and what failed; return the exit status."""
    columns = ("refused", "accepted", "foreign", "wrong", "died", "hang", "memory")
    names = ("refused", "accepted", "foreign exceptions", "wrong", "died", "hangs", "stopped")
    print_head("kind", "cases", *names, "slowest (s)", "peak (MB)")
    for kind, tally in tallies.items():
        counts = [tally.counts[name] for name in columns]
        print_row(kind, tally.cases, *counts, f"{tally.slowest[0]:.1f}", f"{tally.peak:.0f}")
    slowest = [f"{kind}:{tally.slowest[1]}" for kind, tally in tallies.items() if tally.cases]
    print("Slowest cases:", ", ".join(slowest))
    failures = [f"{kind}: {text}" for kind, tally in tallies.items() for text in tally.failures]
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


def main() -> int:
    parser = make_parser(__doc__, "--seed")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--cases", type=int, help="at most so many of each kind")
    parser.add_argument("--case", help="repeat one case, such as 'model file:12'")
    parser.add_argument("--child", action="store_true", help="open cases of the standard input")
    args = parser.parse_args()
    if args.child:
        work(args.seed)
        return 0
    if args.case:
        kind, number = args.case.rsplit(":", 1)
        with tempfile.TemporaryDirectory() as folder:
            bench = sound_bench(Path(folder), args.seed)
            start = resident()
            found = open_case(kind, int(number), args.seed, bench, loud=True)
        print(json.dumps({**found, "peak": found["peak"] - start}, indent=1))
        return 0
    tallies = fuzz(command(__file__, "--child", "--seed", args.seed), args.seconds, args.cases)
    print(run_facts(args.seed))
    return show(tallies)


if __name__ == "__main__":
    sys.exit(main())
