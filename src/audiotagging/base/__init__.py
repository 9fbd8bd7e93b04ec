"""What every room is built on: errors, files, tables, locks, processes, progress."""
