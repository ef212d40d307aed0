"""`pfcli bench`: promptfuse beside its peers and the machine's floor; a module a bench."""

BENCHES: dict[str, str] = {
    "step": "a training step",
    "cache": "batches of cached rows as the trainer gets them",
    "growth": "an epoch and its memory with 1, 4 and 16 times the data",
    "scale": "what very many rows cost, and how many requests",
    "eval": "answers beside the library's generate",
    "startup": "from the command to the end of the first step",
}
"""What each bench measures, by the name of its module, in the order in which all are run."""
