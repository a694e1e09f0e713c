"""Small wrongs that can be done to a module: each mutant is one of them.

The mutants of a source are made one after the other from one syntax tree: the tree is changed,
compiled, and put back. What is changed is what a slip of a programmer changes: a comparison, a
condition, a number, a sign, an enum's member, an entry of a table, a statement left out. Types,
docstrings and imports stay as they are: no behaviour hangs on them.

It knows nothing of tests; `killing` runs them.
"""

import ast
import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType
from typing import Final

SHOWN_CHARACTERS: Final = 100
"""A mutant is shown with as much around it as fits into this."""

_COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}
_CALLS: Final = {
    "plus": "minus",
    "minus": "plus",
    "min": "max",
    "max": "min",
    "all": "any",
    "any": "all",
    "reversed": "list",
}
"""Functions that are called for what an operator would say, and what a slip makes of them."""
_NICKNAMES: Final = {
    "_S": "SagaState",
    "_ST": "SagaTrigger",
    "_P": "StepState",
    "_PT": "StepTrigger",
}
_OMISSIBLE: Final = (
    *(ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Raise),
    *(ast.Delete, ast.Continue, ast.Break, ast.Assert),
)
_NO_BEHAVIOUR: Final = frozenset({"annotation", "returns", "type_comment", "ctx"})


@dataclass(frozen=True, slots=True)
class Site:
    """What names a mutant, whatever else is changed in its file.

    Attributes:
        where: the module, and the function or class in it.
        was: what stands there.
        became: what the mutant says instead.
        number: which one it is of those that look the same; from 1.
    """

    where: str
    was: str
    became: str
    number: int = 1


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong done to a module, ready to be run.

    Attributes:
        function: the function in whose body it is; None for one that shows only on import.
        code: the whole module, compiled.
    """

    site: Site
    module: str
    function: str | None
    line: int
    code: CodeType


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place in the tree, and the nodes above it, outermost first."""

    above: tuple[ast.AST, ...]
    field: str
    index: int | None

    def put(self, node: ast.AST) -> None:
        owner = self.above[-1]
        if self.index is None:
            setattr(owner, self.field, node)
        else:
            getattr(owner, self.field)[self.index] = node


def mutants_of(module: str, source: str, enums: Mapping[str, tuple[str, ...]]) -> Iterator[Mutant]:
    """Yield every mutant of a module; each is compiled when it is asked for.

    Args:
        module: the module's name.
        source: its text.
        enums: the members of each enum that may be named in it, in their order.
    """
    tree = ast.parse(source)
    seen: Counter[Site] = Counter()
    for slot, node in list(_walk(tree, ())):
        for other in _replacements(node, slot, enums):
            ast.copy_location(other, node)
            ast.fix_missing_locations(other)
            shown = _shown(slot, node)
            was = _text(shown)
            slot.put(other)
            became = _text(other if shown is node else shown)
            site = Site(_where(module, (*slot.above, node)), was, became)
            seen[site] += 1
            code = compile(tree, f"<{module}, mutated>", "exec")
            slot.put(node)
            yield Mutant(
                site=replace(site, number=seen[site]),
                module=module,
                function=_function(slot),
                line=getattr(node, "lineno", 0),
                code=code,
            )


def enums_of(package: Path) -> dict[str, tuple[str, ...]]:
    """Return the members of each string enum of a package, by the enum's name and nicknames."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "StrEnum" in map(_text, node.bases):
                found[node.name] = tuple(
                    target.id
                    for assign in node.body
                    if isinstance(assign, ast.Assign)
                    for target in assign.targets
                    if isinstance(target, ast.Name)
                )
    return found | {nick: found[name] for nick, name in _NICKNAMES.items() if name in found}


def _walk(node: ast.AST, above: tuple[ast.AST, ...]) -> Iterator[tuple[_Slot, ast.AST]]:
    """Yield each node that may be changed, with its place, outermost first."""
    above = (*above, node)
    for name, value in ast.iter_fields(node):
        if name in _NO_BEHAVIOUR:
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or _says_nothing(child):
                continue
            yield _Slot(above, name, index if isinstance(value, list) else None), child
            if not isinstance(child, ast.JoinedStr):
                yield from _walk(child, above)


def _says_nothing(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # a docstring
    return isinstance(node, ast.Import | ast.ImportFrom)


def _where(module: str, above: tuple[ast.AST, ...]) -> str:
    names = [n.name for n in above if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    return " ".join((module, ".".join(names))).strip()


def _function(slot: _Slot) -> str | None:
    """Return the outermost function whose body holds a place."""
    names = []
    for node, inner in zip(slot.above, (*slot.above[1:], None), strict=True):
        if isinstance(node, ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.FunctionDef):
            held = slot.field == "body" if inner is None else inner in node.body
            return ".".join((*names, node.name)) if held else None
    return None


def _shown(slot: _Slot, node: ast.AST) -> ast.AST:
    """Return the widest piece of code around a node that is still short enough to be read."""
    shown = node
    for wider in reversed(slot.above):
        if isinstance(shown, ast.stmt) or isinstance(wider, ast.FunctionDef | ast.ClassDef):
            break
        if isinstance(wider, ast.expr | ast.stmt) and len(_text(wider)) > SHOWN_CHARACTERS:
            break
        if isinstance(wider, ast.expr | ast.stmt):
            shown = wider
    return shown


def _text(node: ast.AST) -> str:
    """Return code on one line; of a compound statement, only its head."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        marks = [f"@{_text(mark)}" for mark in node.decorator_list]
        return " ".join((*marks, node.name))
    if isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try):
        head = copy.copy(node)
        head.body = [ast.Pass()]
        if not isinstance(head, ast.With):
            head.orelse = []
        node = head
    return " ".join(ast.unparse(node).split())


def _replacements(
    node: ast.AST, slot: _Slot, enums: Mapping[str, tuple[str, ...]]
) -> Iterator[ast.AST]:
    """Yield everything that a slip could have put in a node's place."""
    match node:
        case ast.Compare():
            yield from _comparisons(node)
        case ast.BoolOp():
            yield from _conjunctions(node)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
        case ast.AugAssign() if type(node.op) in _ARITHMETIC:
            yield ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
        case ast.Constant():
            yield from _constants(node)
        case ast.JoinedStr():
            yield ast.Constant("XX")
        case ast.Tuple(ctx=ast.Load()) | ast.Set() | ast.List(ctx=ast.Load()):
            for index in range(len(node.elts)):
                less = copy.copy(node)
                less.elts = node.elts[:index] + node.elts[index + 1 :]
                if less.elts or not isinstance(node, ast.Set):
                    yield less
        case ast.Dict():
            for index in range(len(node.keys)):
                yield ast.Dict(
                    node.keys[:index] + node.keys[index + 1 :],
                    node.values[:index] + node.values[index + 1 :],
                )
        case ast.Call():
            yield from _calls(node)
        case ast.Attribute(value=ast.Name(id=name)) if node.attr in enums.get(name, ()):
            members = enums[name]
            swapped = members[(members.index(node.attr) + 1) % len(members)]
            yield ast.Attribute(node.value, swapped, node.ctx)
        case ast.Return(value=ast.expr() as value):
            if not (isinstance(value, ast.Constant) and value.value is None):
                yield ast.Return(ast.Constant(None))
        case ast.FunctionDef() if node.decorator_list:
            for index in range(len(node.decorator_list)):
                bare = copy.copy(node)
                bare.decorator_list = node.decorator_list[:index] + node.decorator_list[index + 1 :]
                yield bare
    if slot.field in ("test", "ifs"):  # of an if, a conditional expression, a comprehension
        yield ast.Constant(False)
        if not isinstance(slot.above[-1], ast.While):
            yield ast.Constant(True)
    in_function = any(isinstance(n, ast.FunctionDef) for n in slot.above)
    if in_function and isinstance(node, (*_OMISSIBLE, ast.Return)):
        if isinstance(node, ast.Continue):
            yield ast.Break()
        if not isinstance(node, ast.Return) or node.value is None:
            yield ast.Pass()


def _comparisons(node: ast.Compare) -> Iterator[ast.AST]:
    for index, op in enumerate(node.ops):
        for other in _COMPARISONS[type(op)]:
            ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
            yield ast.Compare(node.left, ops, node.comparators)


def _conjunctions(node: ast.BoolOp) -> Iterator[ast.AST]:
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield ast.BoolOp(other, node.values)
    for index in range(len(node.values)):
        rest = node.values[:index] + node.values[index + 1 :]
        yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    match node.value:
        case bool():
            yield ast.Constant(not node.value)
        case int() | float():
            yield ast.Constant(node.value + 1)
        case str():
            yield ast.Constant(f"XX{node.value}")


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        other = ast.Name(_CALLS[node.func.id], ast.Load())
        yield ast.Call(other, node.args, node.keywords)
    for index, keyword in enumerate(node.keywords):
        turned = isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bool)
        if keyword.arg is not None and not turned:
            rest = node.keywords[:index] + node.keywords[index + 1 :]
            yield ast.Call(node.func, node.args, rest)
