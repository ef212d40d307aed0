"""`pfcli bench`: promptfuse beside its peers and the machine's floor; a module a bench."""

BENCHES: dict[str, str] = {
    "step": "a training step",
    "scale": "what very many rows cost, and how many requests",
}
"""What each bench measures, by the name of its module, in the order in which all are run."""
