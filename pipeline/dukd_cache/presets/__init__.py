"""Settings of caches that come with the program, all but your images and your teacher. No code.

Enters: nothing. Leaves: a YAML file for each name. `settings/presets.py` reads them.
"""
