"""The engine and its command line: moves atoms, watches them, writes them down, and looks at what was written."""
