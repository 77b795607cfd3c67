"""Who may: keys, scopes, and what every exchange goes through."""
