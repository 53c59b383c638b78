"""The durable part. ``contract.py`` says what it does; ``local.py`` is the engine on SQLite."""
