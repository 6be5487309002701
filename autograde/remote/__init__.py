"""The interface between the grader and a learner's code: the only part of the engine that the sandbox may see."""
