"""Building lessons: from a source file to the solved notebook and the students' notebook, with checks on both."""
