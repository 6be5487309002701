"""What keeps a learner's process away from everything that is not its own."""
