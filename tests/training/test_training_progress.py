"""The progress of a training: lines without a terminal, scalars for TensorBoard."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.progress import progress


def run(folder: Path, steps: range) -> None:
    with progress("toy", steps.stop, 4, folder, steps.start) as report:
        for step in steps:
            report(step + 1, float(step), 0.1)


def scalars(folder: Path, name: str) -> dict[int, float]:
    # Files of one second are read in the order of their names, ".10" before ".9": what is out of order is no orphan.
    board = EventAccumulator(str(folder), purge_orphaned_data=False)
    board.Reload()
    return {event.step: event.value for event in board.Scalars(name)}


def test_each_entry_holds_the_mean_loss_since_the_last_one(tmp_path: Path) -> None:
    run(tmp_path, range(10))
    assert scalars(tmp_path, "loss") == {4: 1.5, 8: 5.5, 10: 8.5}
    assert scalars(tmp_path, "learning_rate").keys() == scalars(tmp_path, "steps_per_s").keys() == {4, 8, 10}


def test_a_resumed_run_continues_the_curve(tmp_path: Path) -> None:
    run(tmp_path, range(8))
    run(tmp_path, range(8, 12))
    assert sorted(scalars(tmp_path, "loss")) == [4, 8, 12]


def test_without_a_terminal_there_is_a_line_per_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, range(10))
    output = capsys.readouterr().out
    assert all(f"{step}/10  toy  loss" in output for step in (4, 8, 10))
