"""Who is who: authorities, join tokens, certificates of nodes, and what was taken back."""
