"""Types, protocols and pure geometry that every stage shares; numpy, annotated_types and the standard library only."""
