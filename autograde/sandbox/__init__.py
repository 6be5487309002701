"""Run a learner's cells in a process of their own, and put questions to it."""
