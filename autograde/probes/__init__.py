"""Probes: they run the learner's code and report what it does. They run in its process, so they hold no right answer."""
