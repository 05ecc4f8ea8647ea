"""Models side by side under one budget: `dla compare` trains the rows of a study and makes a table of them."""
