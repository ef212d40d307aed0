"""`pfcli export`: a trained prompt as something to share."""

from pathlib import Path

from ..errors import ConfigError, RunError
from ..library.to_type import command
from ..library.workspace import Workspace
from ..train.peft_folder import write_peft_folder
from ..train.runs.folders import find_run
from ..train.settings import ExportSettings
from ..train.trained import TrainedPrompt, load_prompt, require_portable, write_prompt

SUFFIX = ".safetensors"


def open_prompt(workspace: Workspace, run: str | None) -> TrainedPrompt:
    """Return a trained prompt: of a run by path, name or number, or of an exported file."""
    if run is not None and (run.endswith(SUFFIX) or Path(run).is_file()):
        if not Path(run).is_file():
            raise RunError(f"{run}: no such file; pfcli export makes one of a run")
        return load_prompt(Path(run))
    return load_prompt(find_run(workspace.runs, run))


def run_export(workspace: Workspace, run: str | None, settings: ExportSettings) -> None:
    """Write a trained prompt for others and print where."""
    prompt = open_prompt(workspace, run)
    require_portable(prompt)
    path, about = _target(prompt, settings.output, settings.format), prompt.about
    (write_peft_folder if settings.format == "peft" else write_prompt)(path, prompt)
    print(f"{about.settings.method} of {about.dataset} for {about.plm.get('source')}")
    for modality, manifest in prompt.manifests.items():
        field = prompt.fields[modality]
        print(f"{modality}: {field} of {manifest.identity.get('id')} ({manifest.fingerprint})")
    print(f"wrote {path}")
    if settings.format == "safetensors":
        print(f'next: {command(workspace, "predict", str(path))} FILE --text "QUESTION"')


def _target(prompt: TrainedPrompt, output: str | None, kind: str) -> Path:
    """Return what to write: a folder for PEFT, else a file."""
    name = f"{prompt.about.name}{'-peft' if kind == 'peft' else SUFFIX}"
    path = Path(output or name)
    if kind == "safetensors" and path.is_dir():
        path = path / name
    if kind == "peft" and path.is_file():
        raise ConfigError(f"--output {path} is a file; for PEFT name a folder")
    if kind == "safetensors" and path.suffix != SUFFIX:
        raise ConfigError(f"--output {path}: the file's name must end in {SUFFIX}")
    if not path.parent.is_dir():
        raise ConfigError(f"--output {path}: there is no folder {path.parent}; make it first")
    return path
