"""The front door: takes events over gRPC and answers when they are on disk."""
