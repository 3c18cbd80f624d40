"""Resolution of the `auto` values of a configuration."""
