"""A trained prompt as it is shared: one safetensors file that says all that answering needs.

A finished run's `prompt.safetensors` is such a file, and so is what `pfcli export` writes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import torch

from ..cache.examples import DatasetInfo
from ..cache.fingerprint import explain_difference
from ..cache.manifest import FORMERLY, Manifest
from ..errors import CacheError, ConfigError, RunError, UnknownName
from ..settings import Positive, Settings, read_settings
from .checkpoint import load_trained, save_trained
from .fusion.methods import Fusion
from .fusion.parameters import parameter_shapes
from .plm.frozen import PLM
from .record import PROMPT, FeatureUse, RunRecord
from .settings import RunSettings

PROMPT_FORMAT = 1
"""Version of the metadata in a prompt's file."""


@dataclass(frozen=True)
class EncoderUse(FeatureUse):
    """The features of one modality that a prompt was trained on, and their manifest as JSON."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Description(Settings):
    """What a prompt's file says of it; see `record.RunRecord` for each entry."""

    format: Positive
    name: str
    dataset: str
    task: Literal["vqa", "label", "text"]
    labels: tuple[str, ...]
    plm: Mapping[str, Any]
    settings: RunSettings
    encoders: Mapping[str, EncoderUse]

    def __post_init__(self) -> None:
        labels, name = self.labels, self.name
        if name in ("", ".", "..") or Path(name).name != name or "\0" in name:
            problem = f"name is {name!r}, which is not the name of a file without its folder"
        elif (self.task == "label") != bool(labels):
            problem = f"labels is {list(labels)}, and the task is {self.task!r}"
        elif not all(label.strip() for label in labels) or len(set(labels)) < len(labels):
            problem = f"labels is {list(labels)}, of which some are empty or equal"
        elif not {"source", "weights_sha256"} <= self.plm.keys():
            problem = f"plm is {dict(self.plm)}, which does not say which language model it is"
        else:
            return
        raise ConfigError(problem)

    @classmethod
    def of(cls, record: RunRecord, info: DatasetInfo, manifests: Mapping[str, Manifest]) -> Self:
        """Return what is written beside a run's trained parameters: all that answering needs."""
        encoders = {
            name: EncoderUse(**vars(use), manifest=_portable(manifests[name]))
            for name, use in record.features.items()
        }
        return cls(
            PROMPT_FORMAT,
            record.name,
            record.dataset,
            info.task,
            info.labels,
            record.plm,
            record.settings,
            encoders,
        )


def _portable(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest with nothing of its making but where the encoder and the set are found."""
    found = ("spec", FORMERLY)
    kept = {name: value for name, value in manifest.provenance.items() if name in found}
    return replace(manifest, provenance=kept).to_json()


@dataclass(frozen=True)
class TrainedPrompt:
    """A trained prompt and what it was trained with.

    Attributes:
        parameters: One run's, as they answer, float32: `prompt` [P, H] after its encoder, and the
            projection's, norms' and encoders' if there are any.
        manifests: Of the features, by modality, in the order of the fused sequence.
    """

    about: Description
    parameters: Mapping[str, torch.Tensor]
    manifests: Mapping[str, Manifest]

    @property
    def fusion(self) -> Fusion:
        """The method in its variant."""
        return self.about.settings.fusion

    @property
    def fields(self) -> dict[str, str]:
        """The field of the features that is read, by modality."""
        return {name: self.about.encoders[name].field for name in self.manifests}

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
    manifests = {name: _manifest(path, about, name) for name in about.settings.modalities}
    prompt = TrainedPrompt(about, parameters, manifests)
    _check_shapes(path, prompt)
    return prompt


def write_prompt(path: Path, prompt: TrainedPrompt) -> None:
    """Write a trained prompt into one file, whole or not at all."""
    save_trained(path, prompt.parameters, asdict(prompt.about))


def _description(path: Path, metadata: Mapping[str, object]) -> Description:
    """Return a file's metadata, each entry checked."""
    version = metadata.get("format")
    if isinstance(version, int) and version > PROMPT_FORMAT:
        raise RunError(
            f"{path} is of format {version}, and this promptfuse reads up to format "
            f"{PROMPT_FORMAT}; upgrade promptfuse"
        )
    try:
        return read_settings(Description, metadata, str(path), whole=True)
    except (ConfigError, UnknownName) as error:
        raise RunError(f"{error}; it was edited: export it again") from error


def _manifest(path: Path, about: Description, modality: str) -> Manifest:
    """Return what made a modality's features."""
    use = about.encoders.get(modality)
    if use is None:
        raise RunError(f"{path} does not say which {modality} features its prompt was trained on")
    try:
        manifest = Manifest.from_json(use.manifest, f"{path}: encoders.{modality}.manifest")
        if not manifest.decoded:
            manifest.field(use.field)
    except CacheError as error:
        raise RunError(str(error)) from error
    if manifest.modality != modality or use.fingerprint not in manifest.fingerprints:
        raise RunError(
            f"{path} says {modality} features {use.fingerprint!r} and describes "
            f"{manifest.modality} features {manifest.fingerprint!r}; it was edited: export it again"
        )
    return manifest


def _check_shapes(path: Path, prompt: TrainedPrompt) -> None:
    """Return if the tensors are those that the metadata speaks of."""
    encoders = tuple(f"encoder.{name}." for name in prompt.about.settings.modalities)
    trains_encoders = prompt.fusion.method.live
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
    if method.live:
        raise RunError(
            f"{prompt.about.name} was trained by {method.name}, which changes the encoder itself: "
            "its weights are in the run and in no encoder's folder; choose a run of a method with "
            "a frozen encoder, such as promptfuse"
        )


def require_same_plm(name: str, trained: Mapping[str, Any], plm: PLM) -> None:
    """Return if `plm` is what run or prompt `name` was trained with, by the identity `trained`.

    Raises:
        RunError: If its weights, configuration or tokenizer differ.
    """
    hashes = {"weights": "weights_sha256", "configuration": "config_sha256"}
    hashes["tokenizer"] = "tokenizer_sha256"
    other = [word for word, key in hashes.items() if trained.get(key) != plm.identity.get(key)]
    if other:
        raise RunError(
            f"{name} was trained with {_named(trained)}, not with {_named(plm.identity)}; "
            f"they differ in: {', '.join(other)}"
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
