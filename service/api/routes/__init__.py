"""Who answers what: one file per kind of route."""
