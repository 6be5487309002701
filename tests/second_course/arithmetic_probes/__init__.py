"""The arithmetic course asks nothing of a learner's code but to be called, so it has no probes of its own."""
