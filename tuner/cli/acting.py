"""Commands that act on a study while it runs, from any machine that reaches its database."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner import app
from tuner.cli.arguments import CLUSTER, Study, out, values_by_key
from tuner.errors import BadInput

if TYPE_CHECKING:
    from tuner.store.requests import Kind

commands = typer.Typer()

More = "A number, or +number for that many more."


@commands.command(rich_help_panel=CLUSTER)
def add(
    context: typer.Context,
    study: Study,
    values: Annotated[
        list[str], typer.Argument(help="Values of the space's parameters, such as lr=2e-3 centers=25.")
    ],
) -> None:
    """Have a study train one more trial, with these values; the others are the default's."""
    _print(_act(context, study, "add", values_by_key("tuner add", values)))


@commands.command(rich_help_panel=CLUSTER)
def budget(
    context: typer.Context,
    study: Study,
    trials: Annotated[str | None, typer.Option(help=More)] = None,
    hours: Annotated[str | None, typer.Option(help=More)] = None,
    seeds: Annotated[str | None, typer.Option(help=More)] = None,
) -> None:
    """Change what a study may spend, also while it runs or after it has ended."""
    given = {"trials": trials, "hours": hours, "seeds": seeds}
    wanted = {key: value for key, value in given.items() if value}
    if not wanted:
        raise BadInput.of("tuner budget", "needs --trials, --hours or --seeds, such as --trials +20")
    _print(_act(context, study, "budget", wanted))


@commands.command(rich_help_panel=CLUSTER)
def pause(context: typer.Context, study: Study) -> None:
    """Have a study save its trials and end; it waits until it is resumed by its name."""
    _print(_act(context, study, "pause", {}))


@commands.command(rich_help_panel=CLUSTER)
def delete(
    context: typer.Context,
    study: Study,
    is_sure: Annotated[bool, typer.Option("--yes", help="Delete it without being asked again.")] = False,
) -> None:
    """Delete a study: from its database, MLflow, and its trials' folders. Refused while it runs."""
    if not is_sure:
        raise BadInput.of("tuner delete", f"deletes all of study {study} for good: say --yes")
    app.delete(study, context.obj)
    _print(f"{study}: deleted")


@commands.command(rich_help_panel=CLUSTER)
def events(context: typer.Context, study: Study) -> None:
    """Show what was asked of a study, by whom and when, and what came of it."""
    from tuner.store.requests import events

    app.show(study, context.obj)
    for asked, who, what, answer in events(context.obj.storage, study):
        _print(f"{asked:%Y-%m-%d %H:%M:%S}  {who}  {what}: {answer}")


def _act(context: typer.Context, study: str, kind: "Kind", value: dict[str, Any]) -> str:
    from tuner.store.asking import act

    return act(context.obj.storage, study, kind, value)


def _print(text: Any) -> None:
    out.print(text, soft_wrap=True, highlight=False, markup=False)
