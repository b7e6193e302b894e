"""Downloads weights by name or address, unpacks and verifies them."""
