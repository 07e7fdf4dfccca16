"""Damaged trace files, led by coverage: ``python tools/fuzz_traces.py [SECONDS]`` (600), on Linux, with atheris.

Each input is the name of a source, a line end, and the file that it is given (of several files the first). It starts
from the good samples of ``tests/traces/samples.py`` and what is kept in ``tests/traces/corpus``, and asks what
``outcome`` there asks. The first input of every place that fails goes into that corpus, which the tests read again; the
exit status is 1 if there is any.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "traces" / "corpus"
sys.path.insert(0, str(ROOT))
warnings.simplefilter("error")
os.environ["HCSIM_CACHE"] = "off"
with atheris.instrument_imports(include=["hcsim.traces"]):
    from tests.traces.samples import NASTY, SAMPLES, outcome, sources

    assert set(sources()) == set(SAMPLES)  # which imports them all
MOST_BYTES = 4096

folder = Path(tempfile.mkdtemp(prefix="hcsim-fuzz-"))
names = {name.encode(): name for name in SAMPLES}
count = {"read": 0, "refused": 0}
failed: dict[str, str] = {}
seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 600
begun = time.monotonic()


def one(data: bytes) -> None:
    """Read one input. A failure is kept and said once; looking goes on."""
    if time.monotonic() - begun > seconds:
        seen = f"{count['read']:,} read, {count['refused']:,} refused, {len(failed)} failed"
        print(f"{time.monotonic() - begun:.0f} s: {seen}", file=sys.stderr)
        os._exit(min(len(failed), 1))  # the fuzzer itself never returns
    head, _, raw = data.partition(b"\n")
    name = names.get(head)
    if name is None:
        return
    first = next(iter(SAMPLES[name].files))
    try:
        count[outcome(name, {**SAMPLES[name].files, first: raw}, folder)] += 1
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "hcsim" in frame.filename]
        where = (
            f"{name}: {type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
            if frames
            else name
        )
        if where not in failed:
            failed[where] = str(error)[:200]
            kept = CORPUS / name.replace(":", "-") / hashlib.sha256(raw).hexdigest()[:12]
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(raw)
            print(f"\n{where}: {failed[where]}\n  {kept}", file=sys.stderr)


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """The file changed, or half the time only what follows its first line; the name of its source kept."""
    head, _, raw = data.partition(b"\n")
    if head not in names:
        head = list(names)[seed % len(names)]
        raw = next(iter(SAMPLES[names[head]].files.values()))
    first, end, below = raw.partition(b"\n") if seed % 2 else (b"", b"", raw)
    kept = head + b"\n" + first + end
    return kept + bytes(atheris.Mutate(below, max(1, most - len(kept))))


def main() -> None:
    """Start from all samples and what is kept."""
    seeds = folder / "seeds"
    seeds.mkdir()
    for name, sample in SAMPLES.items():
        kept = sorted((CORPUS / name.replace(":", "-")).glob("*"))
        for i, raw in enumerate([next(iter(sample.files.values())), *(path.read_bytes() for path in kept)]):
            (seeds / f"{name.replace(':', '-')}-{i}").write_bytes(name.encode() + b"\n" + raw)
    words = ["".join(f"\\x{byte:02x}" for byte in word) for word in NASTY if 0 < len(word) <= 64]
    (folder / "words").write_text("".join(f'"{word}"\n' for word in words))
    options = [f"-max_len={MOST_BYTES}", f"-dict={folder / 'words'}", "-timeout=60", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], str(seeds), *options], one, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
