"""A trained prompt as it is shared: one safetensors file that says all that answering needs.

A finished run's `prompt.safetensors` is such a file, and so is what `pfcli export` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ..cache.decoded import is_decoded
from ..cache.fingerprint import explain_difference
from ..cache.manifest import Manifest
from ..errors import RunError
from ..settings import Settings, read_settings
from .checkpoint import load_trained, save_trained
from .fusion.methods import Fusion
from .fusion.parameters import parameter_shapes
from .plm.protocol import PLM
from .runs import PROMPT, PROMPT_FORMAT
from .settings import RunSettings


@dataclass(frozen=True)
class Description(Settings):
    """What a prompt's file says of it; see `runs.RunRecord` for each entry.

    Attributes:
        labels: The dataset's; empty where it has none.
        encoders: By modality: fingerprint, field, the encoder's id and the features' manifest.
    """

    format: int
    name: str
    dataset: str
    task: Literal["vqa", "label", "text"]
    labels: tuple[str, ...]
    plm: Mapping[str, Any]
    settings: RunSettings
    encoders: Mapping[str, Any]


@dataclass(frozen=True)
class TrainedPrompt:
    """A trained prompt and what it was trained with.

    Attributes:
        about: The file's metadata.
        metadata: The same as JSON values.
        parameters: One run's, as they answer: `prompt` [P, H] after its encoder, and the
            projection's and norms' if there are any.
        fusion: The method in its variant.
        manifests: Of the features, by modality.
        fields: Of the features, by modality.
    """

    about: Description
    metadata: Mapping[str, object]
    parameters: Mapping[str, torch.Tensor]
    fusion: Fusion
    manifests: Mapping[str, Manifest]
    fields: Mapping[str, str]

    def batched(self, device: torch.device | str) -> dict[str, torch.Tensor]:
        """Return the parameters as a batch of one run, each [1, …] float32, on a device."""
        return {name: tensor[None].to(device) for name, tensor in self.parameters.items()}


def load_prompt(path: Path) -> TrainedPrompt:
    """Return a trained prompt: of a finished run's folder, or of a file that was exported.

    Raises:
        RunError: If the run is unfinished, or the file is no prompt's, is damaged, or contradicts
            itself.
    """
    path = path / PROMPT if path.is_dir() else path
    parameters, metadata = load_trained(path)
    about = _description(path, metadata)
    uses = {name: _use(path, about, name) for name in about.settings.modalities}
    prompt = TrainedPrompt(
        about=about,
        metadata=metadata,
        parameters=parameters,
        fusion=about.settings.fusion,
        manifests={name: manifest for name, (manifest, _) in uses.items()},
        fields={name: field for name, (_, field) in uses.items()},
    )
    _check_shapes(path, prompt)
    return prompt


def write_prompt(path: Path, prompt: TrainedPrompt) -> None:
    """Write a trained prompt into one file, whole or not at all."""
    save_trained(path, prompt.parameters, prompt.metadata)


def _description(path: Path, metadata: Mapping[str, object]) -> Description:
    version = metadata.get("format")
    if isinstance(version, int) and version > PROMPT_FORMAT:
        raise RunError(
            f"{path} is of format {version}, and this promptfuse reads up to format "
            f"{PROMPT_FORMAT}; upgrade promptfuse"
        )
    about = read_settings(Description, metadata, str(path))
    if not {"source", "weights_sha256"} <= about.plm.keys():
        raise RunError(f"{path} does not say which language model its prompt was trained with")
    return about


def _use(path: Path, about: Description, modality: str) -> tuple[Manifest, str]:
    """Return a modality's manifest and field."""
    use = about.encoders.get(modality)
    if not isinstance(use, Mapping) or not isinstance(use.get("manifest"), Mapping):
        raise RunError(f"{path} does not say which {modality} features its prompt was trained on")
    manifest = Manifest.from_json(use["manifest"], f"{path}: encoders.{modality}.manifest")
    if (manifest.modality, manifest.fingerprint) != (modality, use.get("fingerprint")):
        raise RunError(
            f"{path} says {modality} features {use.get('fingerprint')!r} and describes "
            f"{manifest.modality} features {manifest.fingerprint!r}; it was edited: export it again"
        )
    field = str(use.get("field"))
    return manifest, field if is_decoded(manifest) else manifest.field(field).name


def _check_shapes(path: Path, prompt: TrainedPrompt) -> None:
    """Return if the tensors are those that the metadata speaks of."""
    encoders = tuple(f"encoder.{name}." for name in prompt.about.settings.modalities)
    trains_encoders = prompt.fusion.method.trained == "encoder"
    held = {
        name: tuple(tensor.shape)
        for name, tensor in prompt.parameters.items()
        if not (trains_encoders and name.startswith(encoders))  # the encoder knows their shapes
    }
    wanted = parameter_shapes(
        replace(prompt.fusion, prompt_encoder="none"),  # what is kept is the encoded prompt
        hidden_size=held["prompt"][-1] if held["prompt"] else 0,
        prompt_length=prompt.about.settings.prompt_length,
        modalities=prompt.about.settings.modalities,
    )
    if held != wanted:
        raise RunError(
            f"{path} holds {held}, and its metadata speaks of {wanted}; it was edited: "
            "export it again"
        )


def require_portable(prompt: TrainedPrompt) -> None:
    """Return if a prompt can answer away from its run, with encoders as they were pretrained.

    Raises:
        RunError: If its run has trained the encoders too.
    """
    method = prompt.fusion.method
    if method.trained == "encoder":
        raise RunError(
            f"{prompt.about.name} was trained by {method.name}, which changes the encoder itself: "
            "its weights are in the run and in no encoder's folder; choose a run of a method with "
            "a frozen encoder, such as promptfuse"
        )


def require_same_plm(name: str, trained: Mapping[str, Any], plm: PLM) -> None:
    """Return if `plm` is the model that a prompt was trained with, byte for byte.

    Args:
        name: Of the run or prompt.
        trained: The identity of its language model.
        plm: The model at hand.

    Raises:
        RunError: If it is another.
    """
    if trained.get("weights_sha256") != plm.identity.get("weights_sha256"):
        raise RunError(
            f"{name} was trained with {_named(trained)}, not with {_named(plm.identity)}"
        )


def _named(identity: Mapping[str, Any]) -> str:
    said = {"": "family", "width ": "hidden_size", "weights ": "weights_sha256"}
    details = [f"{word}{identity[name]}" for word, name in said.items() if name in identity]
    return f"{identity.get('source')} ({', '.join(details)})"


def require_same_features(prompt: TrainedPrompt, given: Manifest) -> None:
    """Return if features are those that a prompt was trained on.

    Raises:
        RunError: If they are not; the message says in what they differ.
    """
    trained = prompt.manifests[given.modality]
    if trained.fingerprint != given.fingerprint:
        lines = explain_difference(trained.fingerprinted, given.fingerprinted)
        raise RunError(
            f"{prompt.about.name} was trained on {given.modality} features {trained.fingerprint} "
            f"of {trained.identity.get('id')}, not on {given.fingerprint} of "
            f"{given.identity.get('id')}; they differ in: {'; '.join(lines)}"
        )
