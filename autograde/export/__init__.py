"""Marks for other programs: files for Canvas and Moodle, and result.json."""
