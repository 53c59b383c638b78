"""What ``spoolctl doctor`` looks at: one module a family of checks, and the drill."""
