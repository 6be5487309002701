"""The class report: one HTML page for the instructor."""
