"""How segments are laid out in front of a frozen language model, and what may see what."""
