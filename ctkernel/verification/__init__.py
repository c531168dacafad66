"""``ctkernel verify``: make a result again from its record, and say what agrees."""
