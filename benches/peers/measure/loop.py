"""Slowdown of a training loop: a network on handwritten digits, trained in numpy, in windows with and without logging.

The work of a step is scaled by its batch, so that it takes about 0.2, 1 or 10 ms. Two windows make a pair, in turn
logged first and unlogged first; the figure is the median of the pairs' ratios. Loss, accuracy and norm are computed in
both. Processor time beyond the unlogged loop is that of this process and all below it, background work included, less
the steps' own as measured in the unlogged windows; the end of the run is given apart.
"""

import gzip
import os
import statistics
import time
from typing import Any

import child
import curves
import processes
from measure.figures import fresh, spread


class Training:
    """Softmax regression with one hidden layer of 32, batches drawn from all 1,797 images."""

    def __init__(self, seed: int) -> None:
        import numpy as np

        self.np, self.rng = np, np.random.default_rng(seed)
        with gzip.open(curves.FIXTURES / "digits.csv.gz", "rt") as file:
            table = np.loadtxt(file, delimiter=",")
        self.images, self.labels = table[:, :64] / 16.0, table[:, 64].astype(np.int64)
        self.w1, self.b1 = self.rng.normal(0, 0.18, (64, 32)), np.zeros(32)
        self.w2, self.b2 = self.rng.normal(0, 0.25, (32, 10)), np.zeros(10)

    def step(self, size: int) -> dict[str, float]:
        np = self.np
        chosen = self.rng.integers(0, len(self.labels), size)
        images, labels, rows = self.images[chosen], self.labels[chosen], np.arange(size)
        hidden = np.maximum(images @ self.w1 + self.b1, 0)
        scores = hidden @ self.w2 + self.b2
        scores -= scores.max(axis=1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        loss, accuracy = -logs[rows, labels].mean(), (logs.argmax(axis=1) == labels).mean()
        error = np.exp(logs)
        error[rows, labels] -= 1
        error /= size
        back = (error @ self.w2.T) * (hidden > 0)
        gradients = (images.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0))
        norm = sum(float((gradient * gradient).sum()) for gradient in gradients) ** 0.5
        for weights, gradient in zip((self.w1, self.b1, self.w2, self.b2), gradients):
            weights -= 0.05 * gradient
        return {"loss": float(loss), "accuracy": float(accuracy), "grad_norm": norm}


def calibrate(training: Training, target_s: float) -> int:
    """The batch with which a step takes about as long as asked for."""

    def seconds(size: int) -> float:
        taken = []
        for _ in range(max(3, int(0.03 / target_s))):
            begin = time.perf_counter()
            training.step(size)
            taken.append(time.perf_counter() - begin)
        return statistics.median(taken)

    low, high = seconds(16), seconds(1024)
    slope = max((high - low) / 1008, 1e-9)
    size = max(8, int(16 + (target_s - low) / slope))
    return max(8, int(size * min(2.0, max(0.5, target_s / seconds(size)))))


def window(training: Training, size: int, steps: int, log: Any, step: int) -> float:
    begin = time.perf_counter()
    if log is None:
        for _ in range(steps):
            training.step(size)
    else:
        for number in range(step, step + steps):
            log(training.step(size), number)
    return time.perf_counter() - begin


def main(task: dict[str, Any]) -> dict[str, Any]:
    peer, training = child.loaded(task), Training(task["seed"])
    return {f"{ms:g}": one(task, peer, training, ms) for ms in task["form"]["step_ms"]}


def one(task: dict[str, Any], peer: Any, training: Training, step_ms: float) -> dict[str, Any]:
    form = task["form"]
    size = calibrate(training, step_ms / 1000)
    run = peer.start(fresh(task, f"step-{step_ms:g}"), "run-0", {"lr": 0.05, "batch": size})
    # A slow call makes the window longer; with its cost known the number of steps is chosen so that it does not.
    begin, done = time.perf_counter(), 0
    while done < 20 and time.perf_counter() - begin < 1:
        run.log(training.step(size), done)
        done += 1
    steps = max(5, int(form["window_s"] / max(step_ms / 1000, (time.perf_counter() - begin) / done)))
    own_s, unlogged, ratios, means = 0.0, 0, [], []
    cpu = processes.cpu_seconds(os.getpid())
    total, logged = 0, 0
    for pair in range(form["pairs"]):
        taken = {}
        for with_log in (True, False) if pair % 2 else (False, True):
            thread = time.thread_time()
            taken[with_log] = window(training, size, steps, run.log if with_log else None, done)
            total += steps
            if with_log:
                done, logged = done + steps, logged + steps
            else:
                own_s, unlogged = own_s + time.thread_time() - thread, unlogged + steps
        ratios.append(taken[True] / taken[False])
        means.append(taken[False] / steps)
    time.sleep(form["settle_s"])
    extra = processes.cpu_seconds(os.getpid()) - cpu - own_s / unlogged * total
    before, begin = processes.cpu_seconds(os.getpid()), time.perf_counter()
    run.finish()
    return {
        "batch": size,
        "steps_per_window": steps,
        "unlogged_step_ms": round(statistics.median(means) * 1000, 4),
        "slowdown_percent": spread([100 * (ratio - 1) for ratio in ratios], 3),
        "extra_cpu_s_per_1000_steps": round(extra / logged * 1000, 6),
        "steps_logged": logged,
        "finish_s": round(time.perf_counter() - begin, 6),
        "finish_cpu_s": round(processes.cpu_seconds(os.getpid()) - before, 4),
    }


ROLES = {"main": main}
