"""Finished runs side by side: tables, figures and a page."""
