"""`pfcli bench`: promptfuse beside its peers and the machine's floor; a module a bench."""

BENCHES: dict[str, str] = {
    "step": "a training step",
    "sweep": "runs of a sweep side by side",
    "cache": "batches of cached rows as the trainer gets them",
    "growth": "an epoch and its memory with 1, 4 and 16 times the data",
    "scale": "what very many rows cost, and how many requests",
    "eval": "answers beside the library's generate",
    "extract": "pictures and video to features, whole",
    "startup": "from the command to the end of the first step",
    "ingest": "the annotations of a large dataset",
}
"""What each bench measures, by the name of its module, in the order in which all are run."""
