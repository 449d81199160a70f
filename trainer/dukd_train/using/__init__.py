"""What a finished student is for: larger images, and other programs."""
