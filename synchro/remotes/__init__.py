"""What can be synchronized with."""
