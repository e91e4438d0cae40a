"""Who entered, who left, who crossed a line: found from tracks, kept in a SQLite file."""
