"""The machine: errors, files, locks, threads, memory, terminal. Knows nothing of images, networks or caches.

Enters: paths and functions. Leaves: files that are whole or not there, errors of one line, lines for people.
"""
