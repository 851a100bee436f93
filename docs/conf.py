"""How the documentation is built: ``sphinx -nW``, so every reference must lead somewhere."""

import re
from typing import Any

from sphinx.pycode import ModuleAnalyzer

from fal_async._version import VERSION

project = "fal_async"
author = "fal_async contributors"
copyright = "2026, fal_async contributors"  # noqa: A001  # Sphinx's name for it
release = version = VERSION

extensions = ["sphinx.ext.autodoc", "sphinx.ext.doctest"]
exclude_patterns = ["_build"]
default_role = "py:obj"
nitpicky = True
# What other packages document is named, not linked: a build needs no network.
OTHERS = (
    "aiohttp asyncio attr attrs cattrs collections concurrent contextvars dataclasses datetime"
    " PIL decimal http json logging msgspec multidict os pathlib ssl types typing yarl"
)
nitpick_ignore_regex = [
    (r"py:.*", rf"({OTHERS.replace(' ', '|')})\..*"),
    (r"py:.*", r"\w*Error|\w*Warning|None|True|False|optional"),
    # type variables, and the mark of an argument that was not given
    (r"py:(class|obj)", r"fal_async\..*\.(T|T_co|_F|Unset)"),
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    name: f"fal_async.{name}"
    for name in (
        "Expire",
        "KeySource",
        "Limit",
        "OnProgress",
        "Proxies",
        "QueueStatus",
        "Uploadable",
    )
}
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
# Objects are documented under their public name, wherever they are defined.
add_module_names = False

html_theme = "furo"
html_title = "fal_async"


def show_the_signature_that_runs(_: Any) -> None:
    """Overloads are for type checkers; a reader wants the names and defaults."""
    for module in (
        "fal_async.session.running",
        "fal_async.session.queueing",
        "fal_async.session.files",
        "fal_async.features.handle",
    ):
        analyzer = ModuleAnalyzer.for_module(module)
        analyzer.analyze()
        analyzer.overloads.clear()


def name_the_aliases(*event: Any) -> tuple[str | None, ...]:
    """``Expire | None`` rather than what autodoc makes of an alias within a union."""
    *_, signature, returned = event
    return tuple(
        text and re.sub(r"TypeAliasForwardRef\('([\w.]+)'\)", r"\1", text)
        for text in (signature, returned)
    )


def setup(app: Any) -> None:
    app.connect("builder-inited", show_the_signature_that_runs)
    app.connect("autodoc-process-signature", name_the_aliases)
