"""`edged demo`: the real daemon, a broker of its own, and an ordinary subscriber that prints what arrives."""
