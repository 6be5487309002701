"""From a lesson's one source to the notebooks that people open, and the gates that keep them in step."""
