"""`dla benchmark`: any networks in any engines side by side, each in a process of its own, in alternating rounds."""
