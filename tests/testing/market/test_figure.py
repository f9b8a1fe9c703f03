"""Drawings, read back."""

import xml.etree.ElementTree as ET

import hypothesis.strategies as st
from hypothesis import given

from cocoon_p2p.testing.market.figure import HEIGHT, WIDTH, Figure, Pen, draw

NAME = "{http://www.w3.org/2000/svg}"
PENS = {"a": Pen("#000000"), "b": Pen("#ff0000", 2, "5 3")}


def figure(a: list[tuple[float, float]], floor: float | None = None) -> Figure:
    return Figure("title", "load", {"a": a, "b": [(0.5, 1.0)]}, PENS, floor)


def points(drawing: str) -> list[list[tuple[float, float]]]:
    lines = ET.fromstring(drawing).iter(f"{NAME}polyline")
    pairs = [[pair.split(",") for pair in line.attrib["points"].split()] for line in lines]
    return [[(float(x), float(y)) for x, y in line] for line in pairs]


def test_a_line_that_rises_is_drawn_upwards_and_to_the_right() -> None:
    (line, _) = points(draw(figure([(0.3, 1.0), (0.6, 2.0), (0.9, 4.0)])))

    assert [x for x, _ in line] == sorted({x for x, _ in line})
    assert [y for _, y in line] == sorted({y for _, y in line}, reverse=True)


def test_what_is_less_than_the_floor_is_drawn_on_it() -> None:
    ((nothing, floor, _), _) = points(draw(figure([(0.3, 0.0), (0.6, 0.01), (0.9, 10.0)], floor=0.01)))

    assert nothing[1] == floor[1]


def test_a_name_that_means_something_in_xml_is_written_as_it_is() -> None:
    drawing = draw(Figure("p99 < 1 & more", "load", {"<b>": [(0.0, 1.0)]}, {"<b>": Pen("#000000")}))

    texts = {each.text for each in ET.fromstring(drawing).iter(f"{NAME}text")}
    assert {"p99 < 1 & more", "<b>"} <= texts


@given(
    st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1e9)), min_size=1, max_size=20),
    st.sampled_from([None, 0.01]),
)
def test_whatever_is_drawn_stays_within_the_picture(
    line: list[tuple[float, float]], floor: float | None
) -> None:
    for drawn in points(draw(figure(line, floor))):
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in drawn)
