"""One submission, from the bytes that were handed in to a graded notebook."""
