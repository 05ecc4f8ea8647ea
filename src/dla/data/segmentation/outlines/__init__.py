"""Sets whose labels are outlines, in the forms in which programs for labelling keep them, and how they are filled."""
