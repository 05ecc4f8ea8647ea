"""The boundary benchmark, which no library measures, and how segmentation is measured by torchmetrics."""
