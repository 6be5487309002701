"""What lessons import: data, training loops and plots. A learner may read it; what a lesson teaches is not in it."""
