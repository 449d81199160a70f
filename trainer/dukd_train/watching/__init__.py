"""What is seen of a training while it runs.

Enters: what the loop tells its observers. Leaves: a display, files of trackers. Never changes what is trained.
"""
