"""Runs → the paper's tables, its pictures, and one page that holds them all."""
