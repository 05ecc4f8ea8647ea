"""Pictures of one class each, in arrays, files or tars."""
