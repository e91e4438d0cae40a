"""Teaching gestures: examples are collected into a set, and a set is turned into a file of gestures."""
