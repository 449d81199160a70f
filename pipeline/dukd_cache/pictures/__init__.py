"""Image files → pixels, and what can be done to pixels alone: bicubic, symmetries, comparison, drawing.

Enters: paths of image files. Leaves: u8 arrays [H,W,3]. Never knows views, records or networks.
"""
