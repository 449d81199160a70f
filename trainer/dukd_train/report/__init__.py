"""Finished runs side by side: tables, figures and a page.

Enters: folders of finished runs. Leaves: a page, tables, figures. Trains nothing.
"""
