"""Runs on disk: found, numbered, started and trained to the end."""
