"""A record of peers that is made up: every measure, the n-th row with n times the figures of the first."""

PEERS = {"floors": ("pass", "sqlite"), "stepwell": ("log", "handle"), "expman": ("log",), "mlflow": ("sync", "async")}
# The n-th row of a measure has figures that are n times those of the first.
ORDER = [(peer, variant) for peer, variants in PEERS.items() for variant in variants]


def spread(value):
    return {"n": 3, "min": value * 0.9, "median": value, "max": value * 1.1, "all": [value * 0.9, value, value * 1.1]}


def part(times):
    figures = {
        name: 100 * times * size for name, size in (("p50_ns", 1), ("p90_ns", 2), ("p99_ns", 3), ("p99_9_ns", 5))
    }
    figures |= {"max_ns": 5000 * times, "mean_ns": 150.5 * times, "batch_mean_ns": 140.25 * times}
    histogram = [[100 * times, 19_000], [200 * times, 990], [5000 * times, 10]]
    return {**figures, "calls": 20_000, "logged": 40_100, "read_back": 40_100, "finish_s": 0.01, "histogram": histogram}


def killed(lost):
    each = [{"returned": 1000 + number, "lost": lost + number} for number in range(3)]
    figures = {"lost_min": lost, "lost_median": lost + 1, "lost_max": lost + 2, "lost_share_median": 0.1}
    return {"kills": 3, **figures, "unreadable": 0, "wrong": 0, "each": each}


def value_of(measure, times):
    slow = {"slowdown_percent": spread(times / 7), "extra_cpu_s_per_1000_steps": 0.01 * times, "finish_s": 0.002}
    values = {
        "cost": {"timer_ns": {"p50": 40.0, "mean": 41.0}, "metrics_1": part(times), "metrics_10": part(3 * times)},
        "loop": {"0.2": slow, "1": slow, "10": {**slow, "slowdown_percent": spread(-0.01)}},
        "times": {
            key: spread(0.001 * times)
            for key in ("import_s", "first_start_s", "first_finish_s", "later_start_s", "later_finish_s")
        },
        "kill": {"paced": killed(times - 1), "flat": killed(10 * times)},
        "size": {
            "records": 110_192,
            "files": 36,
            "apparent_bytes_per_record": 5.25 * times,
            "allocated_bytes_per_record": 7.5 * times,
            "one_record": {"apparent_bytes": 1000 * times, "files": 2},
            "read_back_of_first_run": {"expected": 10, "found": 10},
        },
        "memory": {
            "loaded_bytes": 40_000_000,
            "peak_bytes": 50_000_000,
            "calls": 100_000,
            "bytes_per_call": 8.5 * times,
        },
        "visible": {
            "never_before_finish": False,
            "watched_s": 4,
            "delay_ms": {"n": 3, "min": 1.0, "median": 2.5 * times, "max": 9.0},
            "first_delay_ms": 3.0,
            "steps_seen": 90,
            "steps_logged": 99,
            "steps_after_finish": 99,
            "reading_ms": {"n": 9, "min": 0.1, "median": 0.2, "max": 0.3},
        },
        "read": {
            "points_logged": 10_000,
            "points_read": 10_000,
            "curve_first_s": 0.01,
            "curve_s": spread(0.004 * times),
            "runs_logged": 100,
            "runs_ranked": 100,
            "rank_first_s": 0.02,
            "rank_s": spread(0.005 * times),
            "rank_right": True,
        },
        "behaviour": {case: {"word": "kept", "detail": ""} for case in ("nan", "late", "repeated", "keys", "fork")},
    }
    return values[measure]


MEASURES = ("cost", "loop", "times", "kill", "size", "memory", "visible", "read", "behaviour")


def made_record():
    results = [
        {"measure": measure, "peer": peer, "variant": variant, "repetition": 0, "value": value_of(measure, number + 1)}
        for measure in MEASURES
        for number, (peer, variant) in enumerate(ORDER)
    ]
    figures = ("p50_ns", "p99_ns", "p99_9_ns", "max_ns", "batch_mean_ns")
    cost = {
        f"{row['peer']}/{row['variant']}": {
            metrics: {name: row["value"][metrics][name] for name in figures} for metrics in ("metrics_1", "metrics_10")
        }
        for row in results
        if row["measure"] == "cost"
    }
    head = {
        "schema": 1,
        "suite": "peers",
        "form": "full",
        "seed": 7,
        "commit": "0123456789abcdef",
        "started": "2026-01-02T03:04:05+00:00",
    }
    machine = {"model": "a processor", "cores": 4, "kernel": "6.1", "file_system": "ext4", "load": 0.5}
    peers = {
        peer: {"variants": {variant: f"{variant}()" for variant in variants}, "versions": {peer: "1.2"}}
        for peer, variants in PEERS.items()
    }
    return {**head, "machine": machine, "isolated": "unshare --net", "peers": peers, "results": results, "cost": cost}
