"""A trained prompt as it is shared: one safetensors file that says all that answering needs.

A finished run's `prompt.safetensors` is such a file, and so is what `pfcli export` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from ..cache.fingerprint import explain_difference
from ..cache.manifest import Manifest
from ..errors import RunError
from ..settings import Settings, read_settings
from .checkpoint import load_trained, save_trained
from .data import Source
from .fusion.methods import (
    Fusion,
    WidthFix,
)
from .fusion.parameters import parameter_shapes
from .plm.protocol import PLM
from .runs import PROMPT, PROMPT_FORMAT
from .settings import RunSettings

_HELD = ("prompt", "layer", "nothing")  # what a file can hold of what a method trains


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


def read_prompt(path: Path) -> TrainedPrompt:
    """Return the trained prompt in a file.

    Raises:
        RunError: If it is not a prompt's file, is damaged, or contradicts itself.
        ConfigError: If an entry is of the wrong type or has a value that does not exist.
    """
    parameters, metadata = load_trained(path)
    return _prompt(path, parameters, metadata)


def prompt_of_run(folder: Path) -> TrainedPrompt:
    """Return a finished run's trained prompt.

    Raises:
        RunError: If the run is unfinished or its prompt cannot be read.
    """
    return read_prompt(folder / PROMPT)


def write_prompt(path: Path, prompt: TrainedPrompt) -> None:
    """Write a trained prompt into one file, whole or not at all."""
    save_trained(path, prompt.parameters, prompt.metadata)


def _prompt(
    path: Path, parameters: Mapping[str, torch.Tensor], metadata: Mapping[str, object]
) -> TrainedPrompt:
    about = _description(path, metadata)
    fusion = _fusion(path, about)
    uses = {name: _use(path, about, name) for name in about.settings.modalities}
    prompt = TrainedPrompt(
        about=about,
        metadata=metadata,
        parameters=parameters,
        fusion=fusion,
        manifests={name: manifest for name, (manifest, _) in uses.items()},
        fields={name: field for name, (_, field) in uses.items()},
    )
    _check_shapes(path, prompt)
    return prompt


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
    return manifest, manifest.field(str(use.get("field"))).name


def _fusion(path: Path, about: Description) -> Fusion:
    fusion = about.settings.fusion
    if fusion.method.trained not in _HELD:
        raise RunError(
            f"{path} was trained by {fusion.method.name}, which changes the encoder itself: a "
            "prompt's file holds no encoder; choose a run of a method that trains "
            f"{' or '.join(_HELD[:2])}"
        )
    return fusion


def _check_shapes(path: Path, prompt: TrainedPrompt) -> None:
    """Return if the tensors are those that the metadata speaks of."""
    held = {name: tuple(one.shape) for name, one in prompt.parameters.items()}
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


class TrainedWith(Protocol):
    """A run's record or a prompt's description."""

    @property
    def name(self) -> str:
        """The run's name."""
        ...

    @property
    def plm(self) -> Mapping[str, Any]:
        """The identity of its language model."""
        ...


def require_same_plm(trained: TrainedWith, plm: PLM) -> None:
    """Return if `plm` is the model that a prompt was trained with, byte for byte.

    Raises:
        RunError: If it is another.
    """
    if trained.plm.get("weights_sha256") != plm.identity.get("weights_sha256"):
        raise RunError(
            f"{trained.name} was trained with {_named(trained.plm)}, "
            f"not with {_named(plm.identity)}"
        )


def _named(identity: Mapping[str, Any]) -> str:
    said = {"": "family", "width ": "hidden_size", "weights ": "weights_sha256"}
    details = [f"{word}{identity[name]}" for word, name in said.items() if name in identity]
    return f"{identity.get('source')} ({', '.join(details)})"


def require_fit(
    prompt: TrainedPrompt,
    plm: PLM,
    sources: Sequence[Source],
    *,
    fusion: Fusion,
    width_fix: WidthFix,
) -> None:
    """Return if a prompt was trained with this language model, these features, and fused so.

    Raises:
        RunError: If anything differs; the message names both sides.
    """
    about = prompt.about
    require_same_plm(about, plm)
    if about.settings.width_fix != width_fix:
        raise RunError(
            f"{about.name} was trained with width fix {about.settings.width_fix}, not {width_fix}"
        )
    given = tuple(source.modality for source in sources)
    if given != about.settings.modalities:
        raise RunError(
            f"{about.name} reads {' + '.join(about.settings.modalities)}, "
            f"not {' + '.join(given) or 'text'}"
        )
    for source in sources:
        _require_features(prompt, source)
    for name in ("visibility", "prompt_position", "pool", "train_norms", "method"):
        trained, asked = getattr(prompt.fusion, name), getattr(fusion, name)
        if trained != asked:
            raise RunError(
                f"{about.name} was trained with {name} {_word(trained)}, not {_word(asked)}"
            )


def _word(value: object) -> str:
    return str(getattr(value, "name", value))


def _require_features(prompt: TrainedPrompt, source: Source) -> None:
    name, modality = prompt.about.name, source.modality
    trained, given = prompt.manifests[modality], source.features.manifest
    if trained.fingerprint != given.fingerprint:
        lines = explain_difference(trained.fingerprinted, given.fingerprinted)
        raise RunError(
            f"{name} was trained on {modality} features {trained.fingerprint} of "
            f"{trained.identity.get('id')}, not on {given.fingerprint} of "
            f"{given.identity.get('id')}; they differ in: {'; '.join(lines)}"
        )
    if prompt.fields[modality] != source.field:
        raise RunError(
            f"{name} was trained on the field {prompt.fields[modality]!r} of its {modality} "
            f"features, not on {source.field!r}"
        )
