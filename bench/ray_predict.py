"""10,000 images through LeNet on Ray Data's workers, one of which is killed in the middle.

    python -m bench.ray_predict [--images N] [--workers W] [--batch B] [--json FILE]

The results are compared with those of the compiled model in this process, batch by batch: exits
with status 1 unless every image is there once, its numbers equal bit for bit. Needs Linux, and
graphcnn[ray]; Ray is started for it on this machine, and stopped.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data

import graphcnn as gx
from graphcnn.ir import Graph
from graphcnn.models.lenet import lenet, mnist_sample
from graphcnn.ray import Worker

ROWS_OF_A_BLOCK = 100
OBJECT_STORE_BYTES = 256 << 20


@dataclass(frozen=True)
class Run:
    """What came back.

    Attributes:
        images: How many were sent.
        rows: How many rows came back.
        images_back: How many different images.
        equal: Whether their numbers are those of the plain run, bit for bit.
        killed_at: Rows that had come back when a worker was killed; None where none was.
        seconds: From the first to the last row, and the start of the workers.
    """

    images: int
    rows: int
    images_back: int
    equal: bool
    killed_at: int | None
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every image is there once, and right."""
        return self.equal and self.rows == self.images_back == self.images


def digits(batch: dict[str, Any]) -> dict[str, Any]:
    """Images of digits for numbers: those of the sample, over and over."""
    images, _ = mnist_sample()
    return {"number": batch["id"], "pixels": images[batch["id"] % len(images)]}


@contextmanager
def ray_here() -> Iterator[None]:
    """Ray on this machine, without a dashboard, its files in a folder of its own."""
    folder = tempfile.mkdtemp(prefix="ray_")  # a short path: it holds sockets
    try:
        ray.init(
            num_cpus=3,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=folder,
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
    finally:
        ray.shutdown()
        for _ in range(50):  # its last processes still write there
            shutil.rmtree(folder, ignore_errors=True)
            if not Path(folder).exists():
                break
            time.sleep(0.1)


def predictors() -> list[int]:
    """The processes of Ray's, below this one, that hold a compiled model."""
    parents, found = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_text(errors="replace")
            state = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(folder.name)] = int(state[1])
        if title.startswith("ray::") and Worker.__name__ in title:
            found.append(int(folder.name))

    def is_below(process: int) -> bool:
        return process == os.getpid() or (process in parents and is_below(parents[process]))

    return [process for process in found if is_below(process)]


def run(graph: Graph, images: int, workers: int, *, kill: bool) -> Run:
    """Send images through a network, and compare what comes back with the plain run."""
    dataset = ray.data.range(images, override_num_blocks=images // ROWS_OF_A_BLOCK)
    dataset = dataset.map_batches(digits, batch_size=ROWS_OF_A_BLOCK)
    begin = time.perf_counter()
    found = gx.ray.predict(dataset, graph, columns={"image": "pixels"}, workers=workers)
    numbers, outputs, killed_at = [], [], None
    for rows in found.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
        numbers.append(rows["number"])
        outputs.append(rows[graph.outputs[0]])
        back = sum(map(len, numbers))
        if kill and killed_at is None and back >= images // 3:
            os.kill(predictors()[0], signal.SIGKILL)
            killed_at = back
    seconds = time.perf_counter() - begin
    found_numbers = np.concatenate(numbers)
    order = np.argsort(found_numbers, kind="stable")
    return Run(
        images,
        len(found_numbers),
        len(np.unique(found_numbers)),
        np.array_equal(np.concatenate(outputs)[order], plain(graph, images)),
        killed_at,
        seconds,
    )


def plain(graph: Graph, images: int) -> Any:
    """What the compiled model makes of the images, batch by batch."""
    model = gx.compile(graph, device="cpu")
    batch = graph.inputs[0].type.shape[0]
    starts = np.arange(0, images, batch)
    parts = [digits({"id": np.arange(s, min(s + batch, images))})["pixels"] for s in starts]
    return np.concatenate([model(part) for part in parts])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    graph = lenet(options.batch)
    begin = time.perf_counter()
    plain(graph, options.images)
    alone = time.perf_counter() - begin
    with ray_here():
        runs = [run(graph, options.images, options.workers, kill=kill) for kill in (False, True)]
    print(f"plain run: {options.images:,} images in {alone:.1f} s, compiling included")
    for each in runs:
        killed = f"killed one after {each.killed_at:,}" if each.killed_at else "no worker killed"
        back = f"{each.rows:,} rows of {each.images_back:,} images in {each.seconds:.1f} s"
        equal = "equal" if each.equal else "NOT EQUAL"
        print(f"{options.workers} workers, {killed}: {back}, {equal} to the plain run")
    if options.json:
        report = {"workers": options.workers, "batch": options.batch, "plain_seconds": alone}
        report["runs"] = [asdict(each) for each in runs]
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(each.ok for each in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
