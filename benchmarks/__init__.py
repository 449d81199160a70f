"""What dukd costs, measured: each figure is a ratio of two things measured in one run on one machine, beside its goal.

`make bench` runs all of them; a module each, with one function that yields `Figure`s.
"""
