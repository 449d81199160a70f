"""Many runs from one cache, several at once.

Enters: a settings file and a grid. Leaves: run folders and a report. Each run is a process of its own.
"""
