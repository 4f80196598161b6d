"""Images: which are needed, got with which credentials, and when they go."""
