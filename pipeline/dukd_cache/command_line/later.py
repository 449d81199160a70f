"""Commands about settings. A model of settings loads slowly: options are made of it when they are asked for."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any

import typer

from dukd_cache.command_line.console import EachOnce
from dukd_cache.system.errors import SettingError


def takes_settings(
    app: typer.Typer, model: Callable[[], type[Any]], epilog: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command of `app` as `with_settings` makes one, of the model that `model` loads."""

    def register(command: Callable[..., None]) -> Callable[..., None]:
        class Later(EachOnce):
            @cached_property
            def whole(self) -> Any:
                from dukd_cache.command_line.options import with_settings

                alone = typer.Typer(add_completion=False)
                alone.command(self.name)(with_settings(model())(command))
                return typer.main.get_command(alone)

            @property
            def params(self) -> list[Any]:
                found: list[Any] = self.whole.params
                return found

            @params.setter
            def params(self, none: list[Any]) -> None:
                """typer's, of a function that takes nothing."""

            def invoke(self, ctx: Any) -> Any:
                return self.whole.invoke(ctx)

        app.command(command.__name__, cls=Later, help=command.__doc__, epilog=epilog)(lambda: None)
        return command

    return register


def prints_presets(app: typer.Typer, model: Callable[[], type[Any]], example: str, shown: Sequence[str] = ()) -> None:
    """The command `presets` of `app`, which lists those of the settings that `model` loads, with the values `shown`."""

    @app.command(epilog=f"Example: `{example}`")
    def presets(
        name: Annotated[str | None, typer.Argument(help="Print this one, as a file to start from.")] = None,
    ) -> None:
        """List the presets: settings that come with the program.

        Use their names with `--config`.
        """
        from dukd_cache.settings import presets as there

        package = model().presets
        try:
            print(there.table(package, shown) if name is None else there.text(package, name).rstrip())
        except SettingError as error:
            raise error.about("NAME") from error


def prints_schema(app: typer.Typer, model: Callable[[], type[Any]], program: str, of: str, file: str) -> None:
    """The command `schema` of `app`, which prints that of `model`: of `of`, for people; `file` is an example's."""

    @app.command(
        epilog=f"Example: `{program} schema > {file}`",
        help=f"""Print the JSON schema of {of}.

        Editors with a YAML language server then complete and check a file that begins with
        `# yaml-language-server: $schema={file}`.
        """,
    )
    def schema(
        markdown: Annotated[bool, typer.Option("--markdown", help="Print tables in Markdown instead.")] = False,
    ) -> None:
        from dukd_cache.settings.reference import text_of

        print(text_of(model(), markdown))
