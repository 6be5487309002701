"""The class as one page, for the instructor."""
