"""Types, protocols and pure geometry that every stage shares; numpy and the standard library only."""
