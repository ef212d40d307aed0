"""A trained prompt's answers about new media; what is not in the cache is encoded first."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ..cache.commits import Failure
from ..cache.example_table import DatasetInfo, Example, example_table
from ..errors import ConfigError, MediumError, PretrainedError
from ..extract.complete import Completed, complete_features
from ..extract.datasets import RawDataset, files_dataset
from ..extract.datasets.ingest import identify
from ..train.answer import Answer, answer, answer_data
from ..train.plm.frozen import PLM
from ..train.settings import EvalSettings
from ..train.trained import TrainedPrompt, require_portable
from .training import load


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


@dataclass(frozen=True)
class Predictions:
    """The answers about new examples, in order, and what was encoded for them, by modality."""

    rows: list[Row]
    completed: Mapping[str, Completed]


class Answerer:
    """A trained prompt with all that it takes to answer; nothing is printed.

    The language model is loaded for the first answer and kept.

    Args:
        prompt: As `load_prompt` returns it.
        cache: Where features are kept.
        encoders: By modality, where encoders are if not where the prompt says.
        plm: Where the language model is, likewise.
        plm_revision: Its branch, tag or commit, where it is a hub id.
        settings: Batch size, length of answers, device and threads.

    Raises:
        RunError: If the prompt's run has trained the encoders too.
        ConfigError: If an encoder is named of a modality that the prompt does not read.
    """

    def __init__(
        self,
        prompt: TrainedPrompt,
        *,
        cache: Path | str = "pf/cache",
        encoders: Mapping[str, str] | None = None,
        plm: str | None = None,
        plm_revision: str | None = None,
        settings: EvalSettings | None = None,
    ) -> None:
        require_portable(prompt)
        self.prompt = prompt
        self.modalities = tuple(prompt.fields)
        unread = [name for name in encoders or {} if name not in self.modalities]
        if unread:
            reads = f"{prompt.about.name} reads {', '.join(self.modalities)}"
            raise ConfigError(f"an encoder of {unread[0]} is named, and {reads}")
        self._cache, self._encoders, self._source = Path(cache), encoders or {}, plm
        self._revision = plm_revision
        self._settings = settings or EvalSettings()

    @cached_property
    def plm(self) -> PLM:
        """The frozen language model."""
        about, settings = self.prompt.about, self._settings
        with _pointing_to("--plm"):
            source, revision = self._source, self._revision
            if source is None:
                source, revision = str(about.plm["source"]), revision or about.plm.get("revision")
            dtype = about.settings.plm_dtype
            return load(source, dtype, settings.device, settings.threads, revision=revision)

    def answer(self, text: str, **media: Path | str) -> Answer:
        """Return the answer about a text and a file a modality: `image="cat.jpg"`.

        Raises:
            ConfigError: If a modality that the prompt reads is not given, or another one is.
            MediumError: If a medium cannot be used.
        """
        if set(media) != set(self.modalities):
            raise ConfigError(
                f"{self.prompt.about.name} reads {' and '.join(self.modalities) or 'text alone'}, "
                f"not {' and '.join(sorted(media)) or 'text alone'}"
            )
        paths = {name: str(Path(media[name]).expanduser().resolve()) for name in self.modalities}
        example = Example(id="1", text=text, paths=paths)
        (row,) = self.predict(files_dataset([example], self.modalities)).rows
        if row.answer is None:
            raise MediumError(f"{row.file}: {row.reason}")
        return row.answer

    def predict(self, raw: RawDataset) -> Predictions:
        """Return the answers to a dataset's examples, with the reasons where there are none."""
        identified = identify(raw)
        with _pointing_to("--encoder"):
            wanted, device = self.prompt.manifests, self._settings.device
            completed = complete_features(
                identified.media, wanted, self._cache, specs=self._encoders, device=device
            )
        unreadable = {failure.path: failure for failure in identified.failures}
        rows = [
            Row(example, reason=_problem(example, self.modalities, completed, unreadable, raw.root))
            for split in identified.splits.values()
            for example in split
        ]
        return Predictions(self._answered(rows, identified.info, completed), completed)

    def _answered(
        self, rows: Sequence[Row], info: DatasetInfo, completed: Mapping[str, Completed]
    ) -> list[Row]:
        """Return the rows with the answers to those that can be answered."""
        asked = [row.example for row in rows if row.reason is None]
        if not asked:
            return list(rows)
        features = {name: part.features for name, part in completed.items()}
        data = answer_data(self.prompt, self.plm, example_table(info, asked), features)
        given = iter(answer(self.prompt, data, self._settings))
        return [row if row.reason else replace(row, answer=next(given)) for row in rows]


@contextmanager
def _pointing_to(option: str) -> Iterator[None]:
    """Name the option that helps where a model is not where it was."""
    try:
        yield
    except PretrainedError as error:
        raise PretrainedError(f"{error}; if it lies elsewhere: {option} FOLDER") from error


def _problem(
    example: Example,
    modalities: Sequence[str],
    completed: Mapping[str, Completed],
    unreadable: Mapping[str, Failure],
    root: Path,
) -> str | None:
    """Return why an example cannot be answered, or None."""
    for modality in modalities:
        if modality not in example.paths:
            return f"names no {modality}"
        key = example.media.get(modality)
        failure = (
            unreadable[example.paths[modality]]
            if key is None
            else completed[modality].failures.get(key)
        )
        if failure is not None:
            where = root / example.paths[modality]
            return f"{failure.reason}: {failure.message.removeprefix(f'{where}: ')}"
    return None
