"""Both state machines, and one saga's own way through them, as Mermaid and SVG.

The machines' pictures are drawn from the tables in `saga.machine` alone; a saga's own way from its
journal alone. Pictures are text: the same input gives the same bytes, on every machine. Nothing
here reads a clock, changes a saga, or loads anything beyond this package.
"""

from saga.diagrams.committed import committed_files, differing, write_all
from saga.diagrams.graph import Graph, graph_of, saga_graph, step_graph
from saga.diagrams.mermaid import machine_mermaid, saga_way_mermaid
from saga.diagrams.overview import overview_svg
from saga.diagrams.picture import machine_svg
from saga.diagrams.way_svg import saga_way_svg

__all__ = [
    "Graph",
    "committed_files",
    "differing",
    "graph_of",
    "machine_mermaid",
    "machine_svg",
    "overview_svg",
    "saga_graph",
    "saga_way_mermaid",
    "saga_way_svg",
    "step_graph",
    "write_all",
]
