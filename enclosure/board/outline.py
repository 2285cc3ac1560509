"""The board's outer measures, for the case too: nothing here needs KiCad.

Millimetres from the board's upper left corner, y down, seen from the parts' side, the ribbon's header along the top.
"""

WIDTH_MM, HEIGHT_MM = 80.0, 60.0
CORNER_RADIUS_MM = 3.0
THICKNESS_MM = 1.6
HOLE_MM = 3.2  # M3, close fit
HOLE_INSET_MM = 4.0  # from both edges
HOLES_MM = tuple((x, y) for y in (HOLE_INSET_MM, HEIGHT_MM - HOLE_INSET_MM)
                 for x in (HOLE_INSET_MM, WIDTH_MM - HOLE_INSET_MM))
KEEP_OUT_MM = 3.45  # radius about a hole that a screw's head and washer take
