"""The seam between the grader and a learner's code: all of this package that the sandbox may see."""
