"""`python -m promptfuse`, the same as `pfcli`."""

from .cli import main

main()
