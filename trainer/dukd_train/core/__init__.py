"""The heart of training: settings → batches → steps → a student. Read `run.py`, `loop.py`, `learner.py`, in this order.

Enters: a `TrainConfig` and a folder. Leaves: a run folder. Never loads the teacher.
"""
