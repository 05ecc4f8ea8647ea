"""Pictures with the boundaries that several people drew."""
