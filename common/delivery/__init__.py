"""How messages reach the other side: the outbox of one peer and the pause between attempts."""
