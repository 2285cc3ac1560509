"""The box as a thing: case, wiring, carrier board, parts to buy."""
