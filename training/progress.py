"""The progress of a training: a bar on the terminal (lines, where there is none) and scalars for TensorBoard."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

Report = Callable[[int, float, float], None]
"""Takes the step, its loss and its learning rate."""


@contextmanager
def progress(name: str, steps: int, log_every: int, run_folder: Path, first_step: int) -> Iterator[Report]:
    """A function to be called after each step; it shows the mean loss and the speed every `log_every` steps.

    `first_step` steps are done already; what an earlier run logged after them is forgotten.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with SummaryWriter(run_folder, purge_step=first_step + 1) as board, Progress(*columns) as bar:
        task = bar.add_task(name, total=steps, completed=first_step)
        losses: list[float] = []
        began = time.perf_counter()

        def report(step: int, loss: float, learning_rate: float) -> None:
            nonlocal began
            losses.append(loss)
            if step % log_every and step != steps:
                return
            rate, mean = len(losses) / (time.perf_counter() - began), sum(losses) / len(losses)
            text = f"{name}  loss {mean:.4f}  {rate:.2f} steps/s"
            bar.update(task, completed=step, description=text)
            if not bar.console.is_terminal:
                bar.console.print(f"{step}/{steps}  {text}")
            for key, value in {"loss": mean, "steps_per_s": rate, "learning_rate": learning_rate}.items():
                board.add_scalar(key, value, step)
            losses.clear()
            began = time.perf_counter()

        yield report
