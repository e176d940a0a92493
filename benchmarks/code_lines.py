"""Lines of code by package, without docstrings, comments and blank lines.

python benchmarks/code_lines.py [folder of another checkout's package]

Also the records (dataclasses and named tuples) and the assignments of one tuple to another.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "xdownscale"


def docstring_lines(tree: ast.Module) -> set[int]:
    """Return the numbers of the lines that docstrings take."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found


def is_record(node: ast.AST) -> bool:
    """Tell whether a node defines a dataclass or a named tuple."""
    if not isinstance(node, ast.ClassDef):
        return False
    marks = [ast.unparse(each) for each in (*node.decorator_list, *node.bases)]
    return any(mark.startswith("dataclass") or mark == "NamedTuple" for mark in marks)


def is_packed(node: ast.AST) -> bool:
    """Tell whether a node assigns one tuple to another."""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Tuple)
        and any(isinstance(target, ast.Tuple) for target in node.targets)
    )


def main() -> None:
    """Print the table."""
    package = Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE
    code: Counter[str] = Counter()
    records = 0
    packed = 0
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        docs = docstring_lines(tree)
        lines = enumerate(text.splitlines(), start=1)
        counted = [n for n, line in lines if line.strip() and not line.strip().startswith("#")]
        code[path.relative_to(package).parts[0]] += len(set(counted) - docs)
        records += sum(map(is_record, ast.walk(tree)))
        packed += sum(map(is_packed, ast.walk(tree)))
    print("| package | lines of code |\n|---|---|")
    for package, count in code.items():
        print(f"| {package} | {count:,} |")
    print(f"| all | {code.total():,} |\n\n{records} records, {packed} packed assignments")


if __name__ == "__main__":
    main()
