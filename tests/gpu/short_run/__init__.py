"""What a GPU machine that is there for minutes, without a network, is asked for; see tests/gpu/README.md."""
