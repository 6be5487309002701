"""What is asked of a learner's code. These modules run beside it, so nothing in them says what right means."""
