"""What spoolctl asks: gRPC on a unix socket."""
