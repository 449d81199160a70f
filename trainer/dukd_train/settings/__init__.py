"""The settings of a run: validated, explained where they are wrong, described for editors."""
