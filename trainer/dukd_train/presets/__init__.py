"""Settings of trainings that come with the program: the paper's, and those of a small student. No code.

Enters: nothing. Leaves: a YAML file for each name. `settings/presets.py` of the cache's half reads them.
"""
