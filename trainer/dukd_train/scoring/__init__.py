"""How good a network's answers are, and how it is asked for them."""
