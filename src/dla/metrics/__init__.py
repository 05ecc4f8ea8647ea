"""What no library measures: the boundary benchmark."""
