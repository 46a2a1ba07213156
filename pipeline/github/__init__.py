"""How GitHub is called."""
