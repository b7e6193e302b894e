"""The chain of stages from weights to an activated bundle; only what is out of date is made."""
