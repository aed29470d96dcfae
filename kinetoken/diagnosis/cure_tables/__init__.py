"""What mends each finding, a table a library: of data alone, so that it can be read beside that library's own code."""
