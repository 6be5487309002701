"""Grading: the learner's notebook runs in a box and answers probes; what it is worth is decided outside."""
