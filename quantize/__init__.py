"""From a trained student to an int8 file that an Edge TPU can map."""
