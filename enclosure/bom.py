"""What to buy: the parts of the table, the board's connectors, and what holds it all together, with totals."""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from enclosure.assembly import parts as printed_parts
from enclosure.dimensions import Dimensions
from enclosure.harness import CABLES, CONNECTORS, in_panel, on_board
from enclosure.layout import screws, screws_below
from enclosure.suppliers import BOARD_PRICE_EUR, FITTINGS, PI, SUPPLIERS, Supplier

GROUPS = ("Raspberry Pi", "panel and walls", "carrier board", "cables", "case", "option")
HEADS = ("group", "part", "order number", "quantity", "unit price in EUR", "price is", "source 1", "source 2",
         "instead")


@dataclass(frozen=True)
class Line:
    """One line of the list."""

    group: str
    part: str
    order: str
    quantity: int
    supplier: Supplier

    @property
    def row(self) -> tuple[object, ...]:
        told = self.supplier
        return (self.group, self.part, self.order, self.quantity, f"{told.price_eur:.2f}", told.dated, *told.sources,
                told.instead)


def lines(dimensions: Dimensions) -> list[Line]:
    """All of it, grouped; the Coral stick stands last, as an option."""
    made = [Line("Raspberry Pi", kind, order, 1, supplier) for kind, order, supplier in PI[dimensions.board]]
    for group, found in (("panel and walls", in_panel()), ("carrier board", on_board())):
        counted = Counter((part.kind, part.order) for part in found)
        made += [Line(group, kind, order, count, SUPPLIERS[order]) for (kind, order), count in counted.items()]
    made.append(Line("carrier board", "printed circuit board, two layers, 80 x 60 mm", "enclosure/board", 1,
                     Supplier(BOARD_PRICE_EUR, ("any maker of boards, from the Gerber files", "perfboard and wire"))))
    pins = Counter(cable.pin_count for cable in CABLES)
    for count, (header, housing) in sorted(CONNECTORS.items()):
        made.append(Line("carrier board", f"header, JST XH, {count} pins", header, pins[count], SUPPLIERS[header]))
        made.append(Line("cables", f"housing, JST XH, {count} pins", housing, pins[count], SUPPLIERS[housing]))
    made += [Line(group, part, order, _count(dimensions, count), supplier)
             for group, part, order, count, supplier in FITTINGS]
    return sorted(made, key=lambda line: GROUPS.index(line.group))


def _count(dimensions: Dimensions, count: int | str) -> int:
    """A number, or as many as there are of a printed part, or of the case's screws."""
    if isinstance(count, int):
        return count
    if count == "case":
        return len(screws(dimensions)) + len(screws_below(dimensions))
    return next(len(part.places) for part in printed_parts(dimensions) if part.name == count)


def totals_eur(found: Sequence[Line]) -> tuple[float, float]:
    """Without and with the options."""
    cost = {option: sum(line.quantity * line.supplier.price_eur for line in found if (line.group == "option") == option)
            for option in (False, True)}
    return cost[False], cost[False] + cost[True]


def write(dimensions: Dimensions, folder: Path) -> list[Path]:
    """bom.csv and bom.md."""
    with open(folder / "bom.csv", "w", newline="") as file:
        csv.writer(file).writerows([HEADS, *(line.row for line in lines(dimensions))])
    (folder / "bom.md").write_text(page(dimensions))
    return [folder / "bom.csv", folder / "bom.md"]


def page(dimensions: Dimensions) -> str:
    """docs/bom.md."""
    found = lines(dimensions)
    bare, whole = totals_eur(found)
    text = ["# Parts to buy", "",
            "Made by `python -m enclosure.bom > docs/bom.md`, of the table of parts; `tetrad enclosure --board B`",
            "makes that for another Raspberry Pi. Prices are for one box, without postage; an estimate was not read",
            "off a shop's page. A number with a ? is by the shop's usual pattern, and was not looked up.", "",
            f"**In all {bare:.0f} EUR, with the Coral stick {whole:.0f} EUR.**", "",
            f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS),
            *(f"| {' | '.join(map(str, line.row))} |" for line in found), "",
            "Printed: " + ", ".join(f"{len(part.places)} {part.name.replace('_', ' ')}"
                                    for part in printed_parts(dimensions)) + "; panel and base may be cut instead."]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(Dimensions()))
