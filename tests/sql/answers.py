"""Computes answers of tests/sql/*.slt anew, with nothing but Python and the same input, and compares them.

    python3 tests/sql/answers.py

The made runs are those of query/tests/slt/made.rs. The other answers follow from how their runs are made, which the head of each file says.
"""

import csv
import gzip
import pathlib
import re
import statistics as st
import sys

HERE = pathlib.Path(__file__).parent
LOGS = HERE / "../../fixtures/nanogpt-speedrun.csv.gz"
DIGIT_LOGS = HERE / "../../fixtures/digits-runs.csv.gz"
# As in made.rs: optimiser, learning rate, half, overfits, GPU-hours, tokens, last accuracies.
CONFIGS = [
    ("adamw", 0.01, 2.0, 8.0, 0.5, 1000.0, [0.90, 0.91, 0.92]),
    ("adamw", 0.1, 1.0, 4.0, 0.5, 1000.0, [0.80, 0.84, 0.82]),
    ("lion", 0.01, 4.0, 8.0, 0.25, 2000.0, [0.93, 0.95, 0.94]),
    ("lion", 0.1, 1.0, 3.0, 0.25, 2000.0, [0.70, 0.60, 0.66]),
]


def real_runs():
    """{(record, run): {"val": [(step, loss)], "train": [...], "millis": {step: time}}}"""
    runs = {}
    for row in csv.DictReader(gzip.open(LOGS, "rt")):
        run = runs.setdefault((row["record"], row["run"][:8]), {"val": [], "train": [], "millis": {}})
        step = int(row["step"])
        for key, column in (("val", "val_loss"), ("train", "train_loss")):
            if row[column]:
                run[key].append((step, float(row[column])))
        run["millis"][step] = float(row["train_time_ms"])
    return runs


def digit_runs():
    """{(lr, seed): {"name": name, "params": {name: text}, "loss": {step: loss}, "val": [(step, accuracy)]}}"""
    runs = {}
    for row in csv.DictReader(gzip.open(DIGIT_LOGS, "rt")):
        params = {key: row[key] for key in ("lr", "seed", "epochs", "hidden")}
        new = {"name": row["run"], "params": params, "loss": {}, "val": []}
        run = runs.setdefault((float(row["lr"]), int(row["seed"])), new)
        run["loss"][int(row["step"])] = float(row["loss"])
        if row["val_accuracy"]:
            run["val"].append((int(row["step"]), float(row["val_accuracy"])))
    return runs


def sweep():
    """{(optimiser, lr, seed): [one evaluation every 10 steps]}"""
    runs = {}
    for optimiser, lr, half, overfits, hours, tokens, accuracies in CONFIGS:
        for seed, last in enumerate(accuracies):
            evaluations = runs.setdefault((optimiser, lr, seed), [])
            for k in range(11):
                accuracy = last * k / (k + half) * (10 + half) / 10
                loss = 1 - accuracy + 0.05 * max(0, k - overfits)
                axes = {"step": 10 * k, "hours": k * hours, "epoch": k / 5, "tokens": k * tokens}
                evaluations.append({"accuracy": accuracy, "loss": loss, **axes})
    return runs


REAL, DIGITS, SWEEP = real_runs(), digit_runs(), sweep()
RECORDS = sorted({record for record, _ in REAL})
RATES = sorted({rate for rate, _ in DIGITS})


def six(number):
    return None if number is None else round(number, 6)


def name(key):
    return "-".join(str(part) for part in key)


def of_record(record):
    return [run for (its, _), run in REAL.items() if its == record]


def of_rate(rate):
    return [run for (its, _), run in DIGITS.items() if its == rate]


def of_run(wanted):
    return next(run for (_, run_name), run in REAL.items() if run_name == wanted)


def line(points, x):
    """The curve at x, by straight lines."""
    for (a, low), (b, high) in zip(points, points[1:]):
        if a <= x <= b:
            return low + (high - low) * (x - a) / (b - a)
    return None


def iqm(values):
    cut = len(values) // 4
    return st.mean(sorted(values)[cut : len(values) - cut])


def robust_outliers(values, window, sigmas, both):
    """Index and distance from the median of the values before it, of each value that is far from that."""
    found = []
    for index in range(window, len(values)):
        before = values[index - window : index]
        middle = st.median(before)
        sigma = 1.4826 * st.median(abs(value - middle) for value in before)
        distance = values[index] - middle
        if (abs(distance) if both else distance) > sigmas * sigma:
            found.append((index, distance))
    return found


def ranks(values):
    return [sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values]


def q01():
    accuracy, run = min((-run["val"][-1][1], run["name"]) for run in DIGITS.values())
    yield 0, [("digits", run, -accuracy, None), ("sweep", "lion-0.01-1", 0.95, 1000000), ("vision", "v-small", 0.9, 5000000)]
    best = lambda record: min((run["val"][-1][1], key[1]) for key, run in REAL.items() if key[0] == record)
    yield 1, [(record, best(record)[1], best(record)[0]) for record in RECORDS]


def q02():
    loss, key, step = min((e["loss"], name(key), e["step"]) for key, run in SWEEP.items() for e in run)
    before = max(other for other in range(1, step + 1, 3))
    yield 0, [(key, step, six(loss), before, six(1 / (1 + before / 10)))]
    runs = ((loss, step, key[1]) for key, run in REAL.items() if key[0] == RECORDS[0] for step, loss in run["val"])
    loss, step, key = min(runs)
    yield 1, [(key, step, loss, *max(point for point in of_run(key)["train"] if point[0] <= step))]
    best = min((-accuracy, step, run["name"], run["loss"][step]) for run in DIGITS.values() for step, accuracy in run["val"])
    yield 2, [(best[2], best[1], six(-best[0]), best[1], six(best[3]))]


def q04():
    runs = [run["params"] for (_, seed), run in DIGITS.items() if seed < 2]
    values = {key: sorted({run[key] for run in runs}) for key in sorted(runs[0])}
    yield 2, [(key, len(which), ", ".join(which)) for key, which in values.items() if len(which) > 1]


def q05():
    rows = []
    for record in RECORDS:
        for step in (63, 1200):
            values = [line(run["val"], step) for run in of_record(record)]
            rows.append((record, step, len(values), six(st.mean(values))))
    yield 0, rows
    rows = []
    for rate in RATES:
        for step in (100, 500):
            values = [line(run["val"], step) for run in of_rate(rate)]
            rows.append((rate, step, len(values), six(st.mean(values))))
    yield 3, rows


def q06():
    rows = []
    curve = lambda key, axis: [(e[axis], e["accuracy"]) for e in SWEEP[key]]
    for x in (0.0, 0.5, 1.0, 1.5, 2.0):
        rows.append(("epochs", "lion-0.01-1", x, six(line(curve(("lion", 0.01, 1), "epoch"), x))))
    run = of_run("00008ea0")
    minutes = [(run["millis"][step] / 60000, loss) for step, loss in run["val"]]
    rows += [("minutes", "00008ea0", x, six(line(minutes, x))) for x in (1.0, 2.0, 3.0, 4.0)]
    for fork, base, start in (("forked", 10000.0, 50), ("forked-again", 20000.0, 70)):
        rows += [("steps since fork", fork, x, base + start + x) for x in (0.0, 15.0, 30.0)]
    for key in (("adamw", 0.01, 0), ("lion", 0.01, 0)):
        rows += [("tokens", name(key), x, six(line(curve(key, "tokens"), x))) for x in (0.0, 5000.0, 10000.0)]
    yield 0, rows


def q07():
    points = of_run("8bfe4e35")["train"]
    average, buckets = 0.0, {}
    for index, (step, value) in enumerate(points):
        average = 0.99 * average + 0.01 * value
        middle = st.median(value for _, value in points[max(0, index - 10) : index + 11])
        buckets.setdefault(step * 1000 // 5101, []).append((average / (1 - 0.99 ** (index + 1)), middle))
    rows = []
    for bucket in (0, 1, 999):
        averages, middles = zip(*buckets[bucket])
        rows.append((bucket, *map(six, (min(averages), max(averages), min(middles), max(middles)))))
    yield 0, rows
    first, last, pixels, kept = points[0][0], points[-1][0], {}, set()
    for step, value in points:
        pixels.setdefault(min(999, 1000 * (step - first) // (last - first)), []).append((step, value))
    for bucket in pixels.values():
        kept |= {bucket[0], bucket[-1], min(bucket, key=lambda p: (p[1], p[0])), min(bucket, key=lambda p: (-p[1], p[0]))}
    yield 1, [(len(kept), min(value for _, value in kept), max(value for _, value in kept))]


def q08():
    rows = []
    for optimiser, lr in sorted({key[:2] for key in SWEEP}, key=lambda config: (config[1], config[0])):
        for k in (0, 5, 10):
            values = [run[k]["accuracy"] for key, run in SWEEP.items() if key[:2] == (optimiser, lr)]
            spread = map(six, (st.mean(values), st.stdev(values), min(values), max(values), iqm(values)))
            rows.append((f"lr={lr} optimiser={optimiser}", 10 * k, len(values), *spread))
    yield 0, rows
    finals = {record: [run["val"][-1][1] for run in of_record(record)] for record in RECORDS}
    yield 1, [(key, len(v), six(st.mean(v)), six(st.stdev(v)), six(iqm(v))) for key, v in finals.items()]
    rows = []
    for rate in RATES:
        for step in (44, 449, 899):
            v = [dict(run["val"])[step] for run in of_rate(rate)]
            rows.append((rate, step, len(v), *map(six, (st.mean(v), st.stdev(v), min(v), max(v), iqm(v)))))
    yield 2, rows


def q09():
    areas = {}
    for key, run in SWEEP.items():
        area = sum(5 * (a["accuracy"] + b["accuracy"]) for a, b in zip(run[:5], run[1:6]))
        areas.setdefault(key[:2], []).append(area)
    ranking = sorted(((st.mean(values), config) for config, values in areas.items()), reverse=True)
    yield 0, [(place + 1, *config, six(area)) for place, (area, config) in enumerate(ranking)]
    area = lambda curve: sum((b - a) * (low + high) / 2 for (a, low), (b, high) in zip(curve, curve[1:]))
    areas = {rate: [area([point for point in run["val"] if point[0] <= 449]) for run in of_rate(rate)] for rate in RATES}
    ranking = sorted(((st.mean(values), rate) for rate, values in areas.items()), reverse=True)
    yield 1, [(place + 1, rate, six(area)) for place, (area, rate) in enumerate(ranking)]


def q10():
    rows = []
    for config in sorted({key[:2] for key in SWEEP}):
        runs = [run for key, run in SWEEP.items() if key[:2] == config]
        reached = [next(((e["step"], e["hours"]) for e in run if e["accuracy"] >= 0.9), None) for run in runs]
        there = [pair for pair in reached if pair]
        steps, hours = zip(*there) if there else ((), ())
        mean = round(float(st.mean(steps)), 3) if there else None
        rows.append((*config, min(steps, default=None), mean, min(hours, default=None), six(1 - len(there) / len(runs))))
    yield 0, rows
    rows = []
    for record in RECORDS:
        runs = of_record(record)
        reached = [next(((step, run["millis"][step]) for step, loss in run["val"] if loss <= 3.28), None) for run in runs]
        there = [pair for pair in reached if pair]
        minutes = round(min(millis for _, millis in there) / 60000, 3)
        rows.append((record, len(runs), float(st.mean(step for step, _ in there)), minutes, six(1 - len(there) / len(runs))))
    yield 1, rows
    rows = []
    for rate in RATES:
        steps = [next((step for step, accuracy in run["val"] if accuracy >= 0.9), None) for run in of_rate(rate)]
        there = [step for step in steps if step is not None]
        mean = round(float(st.mean(there)), 3) if there else None
        rows.append((rate, len(steps), min(there, default=None), mean, six(1 - len(there) / len(steps))))
    yield 2, rows


def q11():
    rows = []
    for key, run in sorted(SWEEP.items(), key=lambda item: name(item[0])):
        loss = [e["loss"] for e in run]
        stops = (k for k in range(5, 11) if min(loss[k - 4 : k + 1]) >= min(loss[: k - 4]) - 0.001)
        stop = next(stops, None)
        if stop is None:
            rows.append((name(key), None, None, None))
        else:
            lost, saved = run[10]["accuracy"] - run[stop]["accuracy"], run[10]["hours"] - run[stop]["hours"]
            rows.append((name(key), 10 * stop, six(lost), saved))
    yield 0, rows


def q12():
    order = sorted(SWEEP, key=lambda key: -SWEEP[key][1]["accuracy"])
    winner = max(SWEEP, key=lambda key: SWEEP[key][10]["accuracy"])
    place = order.index(winner) + 1
    yield 0, [(name(winner), place, len(order), place <= len(order) // 2)]
    runs = {key[1]: run["val"] for key, run in REAL.items() if key[0] == RECORDS[1]}
    order = sorted(runs, key=lambda run: ([loss for step, loss in runs[run] if step <= 153][-1], run))
    winner = min(runs, key=lambda run: (runs[run][-1][1], run))
    place = order.index(winner) + 1
    yield 1, [(winner, place, len(order), place <= len(order) // 2)]
    # The second epoch ends at step 89, the last of the first tenth.
    runs = {run["name"]: dict(run["val"]) for run in DIGITS.values()}
    order = sorted(runs, key=lambda run: (-runs[run][89], run))
    winner = min(runs, key=lambda run: (-runs[run][899], run))
    place = order.index(winner) + 1
    yield 2, [(winner, place, len(order), place <= len(order) // 2)]


def q13():
    spike = lambda step: {200: 0.5, 201: 0.25}.get(step, 1 - 0.2 * (step - 100) if 100 <= step < 105 else 0)
    loss = [2 - 0.005 * step + [0, 0.01, 0, -0.01][step % 4] + spike(step) for step in range(300)]
    islands = []
    for step, distance in robust_outliers(loss, 10, 6, both=True):
        if not islands or islands[-1][-1][0] != step - 1:
            islands.append([])
        islands[-1].append((step, distance))
    yield 0, [(island[0][0], six(max(distance for _, distance in island)), len(island)) for island in islands]
    points = [point for point in of_run("8d6193f4")["train"] if point[0] >= 1000]
    spikes = robust_outliers([value for _, value in points], 50, 4, both=False)
    index, highest = max(spikes, key=lambda spike: spike[1])
    yield 1, [(len(spikes), points[index][0], six(highest))]


def q15():
    found = []
    for key in range(20):
        grown = lambda step: step - 89 if key == 7 and 90 <= step < 100 else 0.3 if key == 12 and 60 <= step < 70 else 0
        values = [1 + 0.01 * (step * (key + 3) % 7) + grown(step) for step in range(100)]
        if (sigma := st.stdev(values[:50])) > 1e-12:
            found.append((abs(st.mean(values[50:]) - st.mean(values[:50])) / sigma, f"act/k{key:02}"))
    yield 0, [(100, key, round(sigmas, 4)) for sigmas, key in sorted(found, reverse=True)[:2]]


def q16():
    rows = []
    last = [round(run[10]["accuracy"], 12) for run in SWEEP.values()]
    for key, column in (("lr", 1), ("optimiser", 0), ("seed", 2)):
        values = [run[column] for run in SWEEP]
        pearson = spearman = None
        if key != "optimiser":
            pearson, spearman = st.correlation(values, last), st.correlation(ranks(values), ranks(last))
        for value in sorted(set(values)):
            fitting = [accuracy for accuracy, its in zip(last, values) if its == value]
            rows.append((key, value, len(fitting), six(st.mean(fitting)), six(pearson), six(spearman)))
    yield 0, rows
    rows, last = [], [run["val"][-1][1] for run in DIGITS.values()]
    for key, column in (("lr", 0), ("seed", 1)):
        values = [run[column] for run in DIGITS]
        rows.append((key, six(st.correlation(values, last)), six(st.correlation(ranks(values), ranks(last)))))
    yield 1, rows


def q19():
    millis = of_run("42cbebac")["millis"]
    steps = [millis[step] - millis[step - 1] for step in range(1, len(millis))]
    usual = st.median(steps)
    yield 1, [(len(steps), usual, max(steps), sum(step > 3 * usual for step in steps))]


def q22():
    nights = [0.85 if night == 31 else 0.9 + 0.001 * (night % 5) for night in range(1, 32)]
    rows = []
    for night in (31, 30):
        before = nights[max(0, night - 31) : night - 1]
        mean, deviation = st.mean(before), st.stdev(before)
        value = nights[night - 1]
        rows.append((f"night-{night}", value, six(mean), six(deviation), abs(value - mean) > 3 * deviation))
    yield 0, rows


def shown(cell):
    """A cell as the files show it."""
    return {None: "NULL", True: "true", False: "false"}[cell] if cell is None or isinstance(cell, bool) else str(cell)


def in_file(question):
    """The answers that the file of a question holds, one list of lines a statement."""
    (path,) = HERE.glob(f"{question}_*.slt")
    answers = re.findall(r"^----\n(.*?)(?:\n\n|\Z)", path.read_text(), re.S | re.M)
    return [answer.strip().split("\n") for answer in answers]


def main():
    compared, wrong = 0, 0
    for question in (q01, q02, q04, q05, q06, q07, q08, q09, q10, q11, q12, q13, q15, q16, q19, q22):
        for index, rows in question():
            computed = [" ".join(map(shown, row)) for row in rows]
            written = in_file(question.__name__)[index]
            compared += 1
            if computed != written:
                wrong += 1
                print(f"{question.__name__}, answer {index + 1}:\n  computed {computed}\n  written  {written}")
    print(f"{compared} answers compared, {wrong} differ")
    return wrong > 0


sys.exit(main())
