"""What goes wrong between a network and a runtime."""


class DeployError(ValueError):
    """A runtime that is missing, cannot take the network, or computes something else; the message says what to do."""
