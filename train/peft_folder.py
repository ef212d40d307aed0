"""A trained prompt as a folder that PEFT's prompt tuning loads; PEFT itself is not needed.

FOLDER/
    adapter_config.json         PEFT's PromptTuningConfig
    adapter_model.safetensors   `prompt_embeddings` [P, H], with the prompt's own metadata

PEFT puts the vectors before whatever embeddings T5's encoder is given: fed with the media's
embeddings and then the text's, `inputs_embeds` [N, V + A + T, H], it computes the same.
"""

import json
from dataclasses import asdict
from pathlib import Path

from ..cache.atomic import write_atomic
from ..errors import RunError
from .checkpoint import save_trained
from .trained import TrainedPrompt

CONFIG_NAME, WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"


def write_peft_folder(folder: Path, prompt: TrainedPrompt) -> None:
    """Write the two files of a PEFT prompt into `folder`, or say why PEFT cannot express it."""
    if reasons := inexpressible(prompt):
        raise RunError(
            f"{prompt.about.name} cannot be written for PEFT: {'; '.join(reasons)}. "
            "Export it as safetensors instead"
        )
    folder.mkdir(parents=True, exist_ok=True)
    vectors = {"prompt_embeddings": prompt.parameters["prompt"]}
    save_trained(folder / WEIGHTS_NAME, vectors, asdict(prompt.about))
    write_atomic(folder / CONFIG_NAME, json.dumps(_config(prompt), indent=2) + "\n")


def inexpressible(prompt: TrainedPrompt) -> list[str]:
    """Return what PEFT's prompt tuning cannot do of what the prompt needs, a reason each."""
    settings, family = prompt.about.settings, prompt.about.plm.get("family")
    others = sorted(name for name in prompt.parameters if name != "prompt")
    problems = (
        (settings.prompt_length == 0, f"{settings.method} has no prompt"),
        (others, f"PEFT's prompt tuning holds a prompt alone, this run also trained {others}"),
        (
            family != "t5",
            f"PEFT puts vectors before one sequence, and {family} counts positions in each segment "
            "and norms it; only T5 does neither",
        ),
        (
            settings.visibility != "full",
            f"PEFT lets prompt and input see each other, this run's visibility is "
            f"{settings.visibility!r}",
        ),
        (
            settings.prompt_position != "start",
            f"PEFT puts the prompt at the start, this one's is at the {settings.prompt_position!r}",
        ),
    )
    return [reason for there, reason in problems if there]


def _config(prompt: TrainedPrompt) -> dict[str, object]:
    """Return PEFT's configuration: the prompt goes before the encoder's input, once."""
    length, width = prompt.parameters["prompt"].shape
    return {
        "peft_type": "PROMPT_TUNING",
        "task_type": "SEQ_2_SEQ_LM",
        "base_model_name_or_path": prompt.about.plm.get("source"),
        "revision": prompt.about.plm.get("revision"),
        "inference_mode": True,
        "num_virtual_tokens": length,
        "token_dim": width,
        "num_transformer_submodules": 1,
        "prompt_tuning_init": "RANDOM",
    }
