"""``python -m autograde``: the same as the command ``autograde``."""

from autograde.cli import main

main(prog_name="autograde")
