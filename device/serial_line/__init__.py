"""Presets over a serial line, by SMP, the Simple Management Protocol: the box's end and a computer's."""
