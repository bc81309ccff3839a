"""A hundred schedules saved by one process and loaded by another, started by test_adapter_resume.py: verb, folder."""

import json
import sys
from pathlib import Path

from adapter_kit import FAMILIES, rates, sgd, simulated

SPECS = 100


def spec(number: int) -> tuple[str, int, int, list[float]]:
    """A schedule's text, its horizon, where it is saved, and the base rates."""
    text = FAMILIES[number % len(FAMILIES)]
    return text, 40 + 7 * number, (11 * number) % 60, [0.1 + number / 7, 3e-4 * (number + 1)]


def save_all(folder: Path) -> None:
    """Run the specs to where they are saved; write their states, and what follows."""
    for number in range(SPECS):
        text, total, moment, bases = spec(number)
        optimizer = sgd(*bases, weight_decay=0.1)
        scheduler = simulated(optimizer, text, total, weight_decay="cosine" if number % 2 else None)
        scheduler.step(moment)
        if number % 3 == 0 and moment:
            scheduler.extend(total + 13, "hold" if number % 2 else "rescale")
        state = scheduler.state_dict()
        trail = [(scheduler.step(), rates(optimizer))[1] for _ in range(5)]
        (folder / f"{number}.json").write_text(json.dumps({"state": state, "trail": trail}), encoding="utf-8")


def load_all(folder: Path) -> int:
    """How many specs go on as they did where they were saved."""
    exact = 0
    for number in range(SPECS):
        text, total, _, _ = spec(number)
        kept = json.loads((folder / f"{number}.json").read_text(encoding="utf-8"))
        optimizer = sgd(7.0, 8.0, weight_decay=0.1)
        scheduler = simulated(optimizer, text, total, weight_decay="cosine" if number % 2 else None)
        scheduler.load_state_dict(kept["state"])
        exact += [(scheduler.step(), rates(optimizer))[1] for _ in range(5)] == kept["trail"]
    return exact


if __name__ == "__main__":
    print({"save": save_all, "load": load_all}[sys.argv[1]](Path(sys.argv[2])))
