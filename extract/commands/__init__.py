"""What each command does, one module a kind, so that a command imports only what it needs."""
