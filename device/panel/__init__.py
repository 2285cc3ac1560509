"""The box's face: knobs, encoders, buttons, lamp and display, and the fake that stands in for them."""
