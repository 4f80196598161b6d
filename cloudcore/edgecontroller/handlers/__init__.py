"""What is done for each message that comes up: a few small functions a resource type."""
