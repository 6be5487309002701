"""The box in which handed-in code runs: its walls (`walls`), the process inside, and what crosses between the two."""
