"""Remake the demo's frozen models: `python -m promptfuse.demo.pretraining vit --output DIR`."""

import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from tqdm import tqdm

from .bart import text_model
from .encoders import image_encoder, sound_encoder
from .model import Model

Name = Literal["bart", "vit", "wav2vec2"]
MODELS: dict[Name, Callable[[int, Path | None], Model]] = {
    "vit": image_encoder,
    "wav2vec2": sound_encoder,
    "bart": text_model,
}
"""From a seed, and a folder to go on from, to a model."""


def pretrain(
    name: Annotated[Name, typer.Argument(metavar="MODEL")],
    output: Annotated[Path, typer.Option(help="Folder to write to.")],
    seed: int = 0,
    steps: Annotated[
        int | None, typer.Option(help="Of the schedule (default: as shipped).")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="End the schedule after this time.")] = None,
    stop_after: Annotated[
        int | None, typer.Option(help="End at this step of the schedule.")
    ] = None,
    start: Annotated[Path | None, typer.Option(help="Go on from a folder written before.")] = None,
    threads: int = 2,
) -> None:
    """Remake a frozen model: its weights, its config and its processor or tokenizer.

    It is written at every report and at the end.
    """
    torch.set_num_threads(threads)
    made = MODELS[name](seed, start)
    plan = made.schedule
    steps = steps or plan.steps
    end = min(steps, stop_after or plan.stop_after or steps)
    weights = [*made.model.parameters(), *made.heads.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=plan.peak_lr, weight_decay=plan.weight_decay)
    started = time.monotonic()
    for step in tqdm(range(end), unit="step"):
        spent = (time.monotonic() - started) / 60
        progress = max(step / steps, spent / minutes if minutes else 0.0)
        warm = min((step + 1) / plan.warmup_steps, 1.0)
        optimizer.param_groups[0]["lr"] = plan.peak_lr * warm * max(1 - progress, plan.floor)
        loss = made.loss(step, progress)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        done = step + 1 == end or progress >= 1
        if done or (step + 1) % plan.report_every == 0:
            with torch.inference_mode():
                scores = {task: f"{score:.0f}" for task, score in made.scores().items()}
            tqdm.write(f"{step + 1} {spent:.1f} min loss {loss.item():.3f} {scores}")
            deepcopy(made.model).half().save_pretrained(output)
            (output / "model.safetensors").chmod(0o644)
            made.processor.save_pretrained(output)
        if done:
            break


if __name__ == "__main__":
    typer.run(pretrain)
