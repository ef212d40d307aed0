"""How the demo's frozen models were made; only in a checkout, not in the installed package."""
