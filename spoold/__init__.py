"""spoold: a durable on-disk spool for analytics events."""

__version__ = "0.1.0"
