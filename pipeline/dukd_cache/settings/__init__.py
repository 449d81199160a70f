"""Text of YAML and `a.b=c` → frozen models, and every mistake in one line. For both commands.

Enters: a file and words. Leaves: a pydantic model, or a SettingError. Never knows what a setting is for.
"""
