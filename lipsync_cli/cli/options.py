"""Settings dataclasses as flags: each field becomes an option, the line below it the option's help."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Command = Callable[..., None]


def settings_as_options(settings: type[DataclassInstance]) -> Callable[[Command], Command]:
    """Decorates a command with a keyword parameter `settings`: it gets a flag for each field instead.

    Flags are the names of the fields with dashes, their defaults those of the fields (all must have one).
    The dataclass checks the values; what it raises goes to the user.
    """
    hints, explanations = get_type_hints(settings), explained_fields(settings)
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=list(field.default) if _is_many(hints[field.name]) else field.default,
            # A file that cannot be read is told by who reads it, in one line and with its own exit code.
            annotation=Annotated[
                _option(hints[field.name]), typer.Option(help=explanations.get(field.name), readable=False)
            ],
        )
        for field in fields(settings)
        if field.default is not MISSING
    ]

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        kept = [parameter for name, parameter in signature.parameters.items() if name != "settings"]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            values = {option.name: given.pop(option.name) for option in options}
            many = {name: tuple(value) for name, value in values.items() if _is_many(hints[name])}
            chosen = settings(**values | many)
            command(**given, settings=chosen)

        parameters = [*kept, *options]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _is_many(hint: Any) -> bool:
    """Whether a field takes any number of values: its flag may be repeated."""
    return get_origin(hint) is tuple


def _option(hint: Any) -> Any:
    """The type by which the command line knows a field's."""
    return list[get_args(hint)[0]] if _is_many(hint) else hint  # type: ignore[misc]


def explained_fields(settings: type) -> dict[str, str]:
    """Field -> the text below it in the source; empty where the source is not there (no help, no harm)."""
    try:
        source = textwrap.dedent(inspect.getsource(settings))
    except OSError:
        return {}
    (definition,) = ast.parse(source).body
    statements = definition.body if isinstance(definition, ast.ClassDef) else []
    explanations = {}
    for field, below in pairwise(statements):
        text = below.value if isinstance(below, ast.Expr) else None
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(text, ast.Constant)
            and isinstance(text.value, str)
        ):
            explanations[ast.unparse(field.target)] = inspect.cleandoc(text.value)
    return explanations
