"""`edged check`: tries each part for real."""
