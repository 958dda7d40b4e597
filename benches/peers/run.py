"""Measures what logging costs and what survives a crash: Stepwell and its peers, side by side.

    python benches/peers/run.py --wheel target/wheels/stepwell-*.whl --json benches/results/peers.json [--quick|--full]

Standard library only; any Python from 3.10 on. Each peer runs in a virtual environment of its own, with pinned
versions, without a network. A peer that cannot be installed, or that fails, is a row that says so. README.md has the
questions, what each measure does, and how to add a peer.
"""

import argparse
import importlib
import json
import os
import pathlib
import random
import sys
import tempfile
import time
from typing import Any, Iterator

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import adapters  # noqa: E402
import processes  # noqa: E402
from forms import ALL_VARIANTS, EACH_VARIANT, FORMS, MEASURES  # noqa: E402
from suite import launch, record, show, venvs  # noqa: E402

# Floors first: their figures are what the others are read against.
PEERS = (
    "floors",
    "stepwell",
    "expman",
    "cmflib",
    "wandb",
    "mlflow",
    "tensorboardx",
    "trackio",
    "aim",
    "dvclive",
    "swanlab",
    "clearml",
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    forms = parser.add_mutually_exclusive_group()
    for form, text in (("tiny", "for tests"), ("quick", "the default: about ten minutes"), ("full", "about an hour")):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=text)
    parser.set_defaults(form="quick")
    parser.add_argument("--wheel", help="Stepwell's wheel, a release build")
    parser.add_argument("--json", type=pathlib.Path, required=True, help="the raw record")
    parser.add_argument(
        "--venvs", type=pathlib.Path, default=HERE.parents[1] / ".venv" / "peers", help="folder of the environments"
    )
    parser.add_argument("--work", type=pathlib.Path, help="folder to log into, on a disk (default: a temporary one)")
    parser.add_argument("--peers", help="only these, separated by commas; default: " + ",".join(PEERS))
    parser.add_argument("--measures", help="only these: " + ",".join(MEASURES))
    parser.add_argument(
        "--python", help=f"interpreter of the environments (default: a Python {venvs.PYTHON} that is found)"
    )
    parser.add_argument("--seed", type=int, default=int(os.environ.get("PEERS_SEED", "20261123")))
    parser.add_argument("--resume", action="store_true", help="go on with the record, leaving out what it has")
    parser.add_argument(
        "--show", action="store_true", help="print the tables of an existing record and measure nothing"
    )
    parser.add_argument("--install-only", action="store_true", help="make the environments and measure nothing")
    parser.add_argument(
        "--adapters", type=pathlib.Path, help="a folder with adapters and requirements of further peers"
    )
    return parser.parse_args()


class Peer:
    """A peer as the orchestrator sees it: constants of its adapter, its interpreter or why there is none."""

    def __init__(self, name: str, given: argparse.Namespace) -> None:
        self.name = name
        self.requirements = venvs.REQUIREMENTS / f"{name}.txt"
        self.interpreter, self.error = "", ""
        self.variants: dict[str, str] = {"-": ""}
        self.settings: dict[str, str] = {}
        if given.adapters and (given.adapters / f"{name}.py").exists():
            self.requirements = given.adapters / f"{name}.txt"
            self.settings["PEERS_ADAPTERS"] = os.path.abspath(given.adapters)
        try:
            found = importlib.import_module(f"adapters.{name}").Adapter
            self.variants, self.settings = dict(found.VARIANTS), {**self.settings, **found.ENVIRONMENT}
        except Exception as error:
            self.error = f"adapter: {error}"

    def install(self, given: argparse.Namespace, python: str) -> None:
        try:
            self.interpreter = venvs.prepare(self.name, given.venvs, python, given.wheel, self.requirements)
        except (venvs.InstallError, OSError) as error:
            self.error = f"not installed: {error}"

    def task(self, variant: str, measure: str, repetition: int, form: dict[str, Any], seed: int) -> dict[str, Any]:
        return {
            "peer": self.name,
            "variant": variant,
            "measure": measure,
            "repetition": repetition,
            "form": form,
            "seed": seed,
        }


def tasks(peers: list[Peer], measures: list[str], name: str, seed: int) -> Iterator[tuple[Peer, dict[str, Any]]]:
    """Round after round over the peers, so that a machine that gets slower meanwhile is slower for all.

    The order of a round is drawn anew, from the seed: nobody always comes after the same neighbour.
    """
    chance, form = random.Random(seed), FORMS[name]
    for measure in measures:
        for repetition in range(form[measure].get("repetitions", 1)):
            rows = []
            for peer in peers:
                variants = list(peer.variants)
                if measure not in ALL_VARIANTS[name] and peer.name not in EACH_VARIANT:
                    variants = variants[:1]
                rows += [(peer, variant) for variant in variants]
            chance.shuffle(rows)
            for peer, variant in rows:
                yield peer, peer.task(variant, measure, repetition, form[measure], seed + repetition)


def chosen(given: str | None, known: tuple[str, ...], extra: bool = False) -> list[str]:
    names = given.split(",") if given else list(known)
    unknown = [name for name in names if name not in known]
    if unknown and not extra:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def install(peers: list[Peer], given: argparse.Namespace) -> str:
    python = venvs.find_python(given.python)
    given.venvs.mkdir(parents=True, exist_ok=True)
    for peer in peers:
        if not peer.error:
            begin = time.monotonic()
            peer.install(given, python)
            say(f"{peer.name}: {peer.error or 'ready'} ({time.monotonic() - begin:.0f} s)")
    return python


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def describe(peer: Peer, given: argparse.Namespace, work: pathlib.Path) -> dict[str, Any]:
    """What the record says about a peer before anything is measured; an import that fails becomes its error."""
    told: dict[str, Any] = {
        "variants": peer.variants,
        "environment": {key: value for key, value in peer.settings.items() if key != "PEERS_ADAPTERS"},
    }
    if not peer.error:
        task = peer.task(next(iter(peer.variants)), "about", 0, {}, given.seed)
        result = launch.measure(peer.interpreter, task, work, peer.settings, 120)
        told |= result.get("value", {})
        peer.error = result.get("error", "")
    if peer.error:
        told["error"] = peer.error
    return told


def main() -> None:
    given = arguments()
    if given.show:
        print(show.text(json.loads(given.json.read_text())))
        return
    if given.adapters:
        adapters.__path__.append(os.path.abspath(given.adapters))
    begin = time.monotonic()
    processes.adopt_orphans()
    names, measures = chosen(given.peers, PEERS, bool(given.adapters)), chosen(given.measures, MEASURES)
    peers = [Peer(name, given) for name in names]
    python = install(peers, given)
    if given.install_only:
        return
    if given.work:
        given.work.mkdir(parents=True, exist_ok=True)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="peers-", dir=given.work) as folder:
        work = pathlib.Path(folder)
        head = {
            "suite": "peers",
            "form": given.form,
            "seed": given.seed,
            "commit": record.commit(HERE),
            "started": record.now(),
            "machine": record.machine(work),
            "isolated": " ".join(launch.isolation()),
            "settings": FORMS[given.form],
            "python_of_suite": sys.version.split()[0],
            "wheel": os.path.basename(given.wheel or ""),
        }
        kept = record.Record(given.json, head, given.resume)
        say(
            f"environments: {time.monotonic() - begin:.0f} s, from {os.path.basename(python)}; seed {given.seed}; "
            + (f"no network ({head['isolated']})" if head["isolated"] else "the network could not be switched off")
        )
        for peer in peers:
            kept.data["peers"][peer.name] = describe(peer, given, work)
        measure_all(peers, measures, given, work, kept)
        kept.data["seconds"] = round(time.monotonic() - begin, 1)
        kept.write()
    print(show.text(kept.data))
    errors = sum("error" in row for row in kept.data["results"])
    rows = f"{len(kept.data['results'])} rows, {errors} of them errors"
    say(f"{rows}, in {time.monotonic() - begin:.0f} s: {given.json.name}")


def measure_all(
    peers: list[Peer], measures: list[str], given: argparse.Namespace, work: pathlib.Path, kept: Any
) -> None:
    for peer, task in tasks(peers, measures, given.form, given.seed):
        key = {name: task[name] for name in ("measure", "peer", "variant", "repetition")}
        if kept.done(key):
            continue
        if peer.error:
            result = {"error": peer.error}
        else:
            load = round(os.getloadavg()[0], 2)
            result = launch.measure(peer.interpreter, task, work, peer.settings, task["form"]["timeout_s"])
            result["load_before"] = load
        kept.add({**key, **result})
        outcome = next((f"{word}: {result[word]}" for word in ("error", "incomplete") if word in result), "done")
        say(f"{task['measure']} {peer.name}/{task['variant']}: {outcome} ({result.get('seconds', 0):.1f} s)")


if __name__ == "__main__":
    main()
