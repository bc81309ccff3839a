"""A client's example, selected in both places."""

from pathlib import Path

import lrcontrol as lrc

__all__ = ["check_places_agree"]


def check_places_agree(example: str, folder: Path) -> None:
    """Serially and in processes the same choice comes out, with the same losses and evaluations."""
    found = [
        lrc.select(example, budget="3runs", out=folder / executor, executor=executor)
        for executor in ("serial", "processes")
    ]
    assert found[0].record.column("loss").tolist() == found[1].record.column("loss").tolist()
    assert found[0].record.evals == found[1].record.evals
