"""A project whose user model is its own."""
