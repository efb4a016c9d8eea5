"""List the experiments, or run one: ``python -m experiments [NAME [OPTIONS]]``."""

import ast
import runpy
import sys
from pathlib import Path

from percert.check import did_you_mean

FOLDER = Path(__file__).parent


def experiments() -> dict[str, str]:
    """What each experiment measures, by its name: every module here that can be run."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if path != Path(__file__) and 'if __name__ == "__main__":' in source:
            parts = path.relative_to(FOLDER).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__main__")
            found[name] = (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]
    return found


def main() -> None:
    known = experiments()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print("python -m experiments NAME [OPTIONS]; NAME --help says which options it has.\n")
        width = max(map(len, known))
        print("\n".join(f"{name:{width}}  {what}" for name, what in known.items()))
        return
    name = sys.argv.pop(1)
    if name not in known:
        near = did_you_mean(name, known, "; python -m experiments lists them")
        sys.exit(f"experiments: none is called {name!r}{near}")
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
