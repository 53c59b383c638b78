"""What to send and when, what a reply leads to, how long to wait: decisions, then the thread that carries them out."""
