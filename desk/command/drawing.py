"""`saga diagram`: one saga's own way through its machine, as a picture."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from desk.command.options import BatchArgument, HomeOption, JsonOption
from desk.exit_codes import ExitCode
from desk.format import Format
from desk.session import Session
from saga.diagrams import saga_way_mermaid, saga_way_svg
from saga.errors import InvalidInput


class Picture(StrEnum):
    """The forms of a picture."""

    SVG = "svg"
    MERMAID = "mermaid"


_SUFFIXES = {".svg": Picture.SVG, ".mmd": Picture.MERMAID, ".mermaid": Picture.MERMAID}


def diagram(
    context: typer.Context,
    batch_id: BatchArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where; - is stdout. [default: diagrams/ID.svg in the folder]",
            show_default=False,
        ),
    ] = None,
    picture: Annotated[
        Picture | None,
        typer.Option("--format", help="The form.", show_default="what the file's name says"),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a batch's way through its states, with times and quantities.

    Example: saga diagram ID -o way.svg
    """
    session = Session(context, home, as_json=as_json, forms=(Format.TABLE, Format.JSON))
    to_stdout = out == Path("-")
    form = picture or (_SUFFIXES.get(out.suffix.lower()) if out is not None else None)
    form = form or Picture.SVG

    async def work() -> ExitCode:
        async with session.history() as history:
            records = await history.journal(batch_id)
        text = saga_way_svg(records) if form is Picture.SVG else saga_way_mermaid(records)
        if to_stdout:
            session.screen.raw(text)
            return ExitCode.DONE
        path = _write(out or _default(session, batch_id, form), text)
        if session.screen.is_for_people:
            session.screen.text(str(path))
        else:
            session.screen.json({"batch_id": batch_id, "file": str(path), "format": form})
        return ExitCode.DONE

    session.run(work)


def _default(session: Session, batch_id: str, form: Picture) -> Path:
    folder = session.configured.home.diagrams
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{batch_id}.{'svg' if form is Picture.SVG else 'mmd'}"


def _write(path: Path, text: str) -> Path:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"file {str(path)!r} cannot be written: {error.strerror}; name another with -o"
        ) from None
    return path.absolute()
