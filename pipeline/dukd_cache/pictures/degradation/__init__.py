"""HR → LR as cameras, editors and uploads do it: blur, resizing, noise and compression, drawn anew for each crop.

Written from the description of Real-ESRGAN (Wang et al., ICCVW 2021, arXiv 2107.10833) and its published settings.
"""
