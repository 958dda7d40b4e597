"""Trains a classifier of handwritten digits with numpy and logs every step with Stepwell.

    python examples/digits.py --lr 0.03 0.1 0.3 --seeds 0 1 2

A pipeline with two stages: "prepare" splits the images into a training and a validation set, "train" runs once for
each learning rate and seed. The model is a network with one hidden layer, trained by gradient descent on batches.
Nothing here handles a kill: send SIGKILL at any moment, and every step whose log call had returned is there.
"""

import argparse
import itertools
import os
import tempfile
import time

import numpy as np

import stepwell

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "digits.csv.gz")
PIXELS = 64
CLASSES = 10
HIDDEN = 32
BATCH = 64


def prepare(data, folder, store):
    """Splits the images 4 : 1 into two files, the outputs of the stage "prepare"."""
    with stepwell.start(pipeline="digits", stage="prepare", store=store, params={"train_share": 0.8, "seed": 0}) as run:
        run.log_dataset(data, "input", name="digits.csv.gz")
        table = np.loadtxt(data, delimiter=",")
        images = table[:, :PIXELS] / 16.0
        labels = table[:, PIXELS].astype(np.int64)
        order = np.random.default_rng(0).permutation(len(labels))
        split = int(0.8 * len(labels))
        files = {}
        for name, rows in {"train": order[:split], "val": order[split:]}.items():
            files[name] = os.path.join(folder, f"digits-{name}.npz")
            np.savez(files[name], images=images[rows], labels=labels[rows])
            run.log_dataset(files[name], "output", properties={"images": len(rows)}, name=f"digits-{name}.npz")
        run.log_execution_metrics("split", {"train": split, "val": len(labels) - split})
    return files


def load(file):
    with np.load(file) as arrays:
        return arrays["images"], arrays["labels"]


def new_weights(rng):
    return {
        "w1": rng.normal(0, np.sqrt(2 / PIXELS), (PIXELS, HIDDEN)),
        "b1": np.zeros(HIDDEN),
        "w2": rng.normal(0, np.sqrt(2 / HIDDEN), (HIDDEN, CLASSES)),
        "b2": np.zeros(CLASSES),
    }


def predict(weights, images):
    """Activations of the hidden layer, and the logarithm of each class's probability."""
    hidden = np.maximum(images @ weights["w1"] + weights["b1"], 0)
    scores = hidden @ weights["w2"] + weights["b2"]
    scores -= scores.max(axis=1, keepdims=True)
    return hidden, scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def gradients(weights, images, labels):
    """Loss, accuracy and gradients of one batch."""
    hidden, log_probabilities = predict(weights, images)
    rows = np.arange(len(labels))
    loss = -log_probabilities[rows, labels].mean()
    accuracy = (log_probabilities.argmax(axis=1) == labels).mean()
    error = np.exp(log_probabilities)
    error[rows, labels] -= 1
    error /= len(labels)
    back = (error @ weights["w2"].T) * (hidden > 0)
    return loss, accuracy, {
        "w1": images.T @ back,
        "b1": back.sum(axis=0),
        "w2": hidden.T @ error,
        "b2": error.sum(axis=0),
    }


def train(files, folder, lr, seed, epochs, store):
    """One run of the stage "train". Returns its validation accuracy, its steps and the seconds it took."""
    params = {"lr": lr, "seed": seed, "epochs": epochs, "batch": BATCH, "hidden": HIDDEN}
    with stepwell.start(
        pipeline="digits", stage="train", name=f"lr={lr:g} seed={seed}", params=params, store=store
    ) as run:
        run.log_dataset(files["train"], "input", name="digits-train.npz")
        run.log_dataset(files["val"], "input", name="digits-val.npz")
        (images, labels), (val_images, val_labels) = load(files["train"]), load(files["val"])
        rng = np.random.default_rng(seed)
        weights = new_weights(rng)
        val_accuracy = run.metric("validation", "val_accuracy")
        step, start = 0, time.perf_counter()
        for epoch in range(epochs):
            order = rng.permutation(len(labels))
            for first in range(0, len(order), BATCH):
                batch = order[first : first + BATCH]
                loss, accuracy, grads = gradients(weights, images[batch], labels[batch])
                norm = np.sqrt(sum(float((grad * grad).sum()) for grad in grads.values()))
                for name, grad in grads.items():
                    weights[name] -= lr * grad
                run.log_metric("training_metrics", {"loss": loss, "accuracy": accuracy, "grad_norm": norm}, step=step)
                step += 1
            _, log_probabilities = predict(weights, val_images)
            reached = (log_probabilities.argmax(axis=1) == val_labels).mean()
            val_accuracy(reached, epoch)
        seconds = time.perf_counter() - start
        file = os.path.join(folder, f"weights-{run.id}.npz")
        np.savez(file, **weights)
        run.log_model(file, "output", properties={"lr": lr, "seed": seed}, name="weights.npz")
        run.log_execution_metrics("result", {"val_accuracy": float(reached), "steps": step, "seconds": seconds})
        run.commit_metrics("training_metrics")
        run.commit_metrics("validation")
    return float(reached), step, seconds


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lr", type=float, nargs="+", default=[0.03, 0.1, 0.3], help="learning rates")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of weights and batches")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training set (default 20)")
    parser.add_argument("--store", default=None, help="store folder (default: STEPWELL_STORE, else .stepwell)")
    parser.add_argument("--data", default=DATA, help="the images as CSV, the label last")
    given = parser.parse_args()
    if given.epochs < 1:
        parser.error("--epochs must be 1 or more")
    return given


BEST = """
SELECT CAST(params['lr'] AS DOUBLE) AS lr, count(*) AS runs, avg(last) AS val_accuracy, stddev(last) AS deviation
FROM summary JOIN runs USING (run_id)
WHERE pipeline = 'digits' AND stage = 'train' AND metric = 'val_accuracy' AND state = 'finished'
GROUP BY 1 ORDER BY val_accuracy DESC
"""


def main():
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="digits-") as folder:
        files = prepare(given.data, folder, given.store)
        for lr, seed in itertools.product(given.lr, given.seeds):
            accuracy, steps, seconds = train(files, folder, lr, seed, given.epochs, given.store)
            print(f"lr {lr:<6g} seed {seed:<3} {steps} steps in {seconds:5.2f} s, validation accuracy {accuracy:.4f}", flush=True)
    print("\nWhich learning rate is best?", BEST)
    print(stepwell.sql(BEST, given.store))


if __name__ == "__main__":
    main()
