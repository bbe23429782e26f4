"""One check a file: a table of frames in, findings out."""
