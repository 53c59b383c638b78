"""Providers: frozen events to requests, replies to outcomes (``base.py`` is the contract)."""
