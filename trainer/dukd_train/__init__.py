"""A light trainer of super-resolution students from teacher caches."""
