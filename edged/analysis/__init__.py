"""From boxes to events: who is who over time, where, since when."""
