"""Notebooks as data: their cells, their outputs, and what of them is safe to show. nbformat and nothing else."""
