"""A trained prompt's answers about new media; what is not in the cache is encoded first."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath

from ..cache.commits import Failure
from ..cache.example_batches import example_table
from ..cache.example_table import Example
from ..cache.places import place_of
from ..errors import ConfigError, MediumError, PretrainedError
from ..extract.complete import Completed, complete_features
from ..extract.datasets import RawDataset, files_dataset
from ..extract.datasets.ingest import identify
from ..train.answer import Answer, answer, answer_data
from ..train.plm.frozen import PLM
from ..train.settings import EvalSettings
from ..train.trained import TrainedPrompt, require_portable
from .training import load
from .workspace import Workspace


@dataclass(frozen=True)
class Row:
    """One example with its answer, or with the reason why it has none."""

    example: Example
    answer: Answer | None = None
    reason: str | None = None

    @property
    def file(self) -> str:
        """Its media's paths, each once."""
        return ", ".join(dict.fromkeys(self.example.paths.values()))


class Answerer:
    """A trained prompt with all that it takes to answer; nothing is printed.

    The language model is loaded for the first answer and kept. `encoders` (by modality), `plm` and
    `plm_revision` say where the models are, if not where the prompt says.
    """

    def __init__(
        self,
        prompt: TrainedPrompt,
        *,
        cache: PurePath | str = Workspace.cache,
        encoders: Mapping[str, str] | None = None,
        plm: str | None = None,
        plm_revision: str | None = None,
        settings: EvalSettings | None = None,
    ) -> None:
        require_portable(prompt)
        self.prompt = prompt
        self.modalities = tuple(prompt.fields)
        for name in encoders or {}:
            if name not in self.modalities:
                reads = f"{prompt.about.name} reads {', '.join(self.modalities)}"
                raise ConfigError(f"an encoder of {name} is named, and {reads}")
        self._cache, self._encoders, self._source = place_of(cache), encoders or {}, plm
        self._revision, self._settings = plm_revision, settings or EvalSettings()

    @cached_property
    def plm(self) -> PLM:
        """The frozen language model."""
        about, settings = self.prompt.about, self._settings
        recorded = about.plm.get("revision") if self._source is None else None
        with _pointing_to("--plm"):
            return load(
                self._source or str(about.plm["source"]),
                about.settings.plm_dtype,
                settings.device,
                settings.threads,
                revision=self._revision or recorded,
            )

    def answer(self, text: str, **media: Path | str) -> Answer:
        """Return the answer about a text and a file a modality: `image="cat.jpg"`.

        Raises:
            ConfigError: If other media are given than the prompt reads.
            MediumError: If a medium cannot be used.
        """
        if set(media) != set(self.modalities):
            raise ConfigError(
                f"{self.prompt.about.name} reads {' and '.join(self.modalities) or 'text alone'}, "
                f"not {' and '.join(sorted(media)) or 'text alone'}"
            )
        paths = {name: str(Path(media[name]).expanduser().resolve()) for name in self.modalities}
        example = Example(id="1", text=text, paths=paths)
        (row,), _ = self.predict(files_dataset([example], self.modalities))
        if row.answer is None:
            raise MediumError(f"{row.file}: {row.reason}")
        return row.answer

    def predict(self, raw: RawDataset) -> tuple[list[Row], dict[str, Completed]]:
        """Return the answers to a dataset's examples, and by modality what was encoded for them."""
        identified = identify(raw)
        with _pointing_to("--encoder"):
            wanted, device = self.prompt.manifests, self._settings.device
            completed = complete_features(
                identified.media, wanted, self._cache, specs=self._encoders, device=device
            )
        unreadable = {failure.path: failure for failure in identified.failures}
        rows = [
            Row(example, reason=self._problem(example, completed, unreadable, raw.root))
            for split in identified.splits.values()
            for example in split
        ]
        if asked := [row.example for row in rows if row.reason is None]:
            features = {name: part.features for name, part in completed.items()}
            table = example_table(identified.info, asked)
            data = answer_data(self.prompt, self.plm, table, features)
            given = iter(answer(self.prompt, data, self._settings))
            rows = [row if row.reason else replace(row, answer=next(given)) for row in rows]
        return rows, completed

    def _problem(
        self,
        example: Example,
        completed: Mapping[str, Completed],
        unreadable: Mapping[str, Failure],
        root: Path,
    ) -> str | None:
        """Return why an example cannot be answered, or None."""
        for modality in self.modalities:
            if (path := example.paths.get(modality)) is None:
                return f"names no {modality}"
            key = example.media.get(modality)
            failure = completed[modality].failures.get(key) if key else unreadable[path]
            if failure is not None:
                return f"{failure.reason}: {failure.message.removeprefix(f'{root / path}: ')}"
        return None


@contextmanager
def _pointing_to(option: str) -> Iterator[None]:
    """Name the option that helps where a model is not where it was."""
    try:
        yield
    except PretrainedError as error:
        raise PretrainedError(f"{error}; if it lies elsewhere: {option} FOLDER") from error
