"""MetaManager: what is kept, acknowledged and passed on, and where a question is answered."""
