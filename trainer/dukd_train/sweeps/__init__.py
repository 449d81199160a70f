"""Many runs from one cache, several at once."""
