"""Model files and milliseconds: graphs, the writers that turn them into files, and the devices that time them.

This package knows no search space. `open_profiler(device)` is the door; `Graph` is what gets timed.
"""
