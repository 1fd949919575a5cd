"""`kaiwa models`: what there is, bring it, look whether it is still what came."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from voice.download import Progress as Told
from voice.errors import KaiwaError
from voice.model_catalogue import CATALOGUE, Model, Source, find
from voice.model_store import ModelsError, ModelStore, Pulled, Trouble

app = typer.Typer(no_args_is_help=True, help="Published models: list, pull, verify.")
console = Console()

ModelsDir = Annotated[Path, typer.Option("--models-dir", help="Where models lie.")]
DEFAULT = Path("models")
SLOTS = {
    "stt": "speech to text",
    "tts": "text to speech",
    "embedding": "search in your documents",
    "llm": "answers",
    "vad": "whether somebody speaks",
    "turn": "whether somebody has finished",
}


@app.command("list")
def list_models(
    slot: Annotated[str, typer.Argument(help=f"Only of one: {', '.join(SLOTS)}.")] = "",
    models_dir: ModelsDir = DEFAULT,
) -> None:
    """Show every model with its size, licence and address; ● is here."""
    if slot and slot not in SLOTS:
        raise KaiwaError(f"models: there is no {slot!r}; known are {', '.join(SLOTS)}.")
    store = ModelStore(models_dir)
    _record(store)
    begun = store.begun()
    for name, meaning in SLOTS.items():
        if slot in ("", name):
            _say(f"[bold]{name}[/]  {meaning}")
            for model in CATALOGUE:
                if model.slot == name:
                    for line in _lines(store, model, begun.get(model.name, 0)):
                        _say(line)
    _say(
        "\n● here   ✗ here, but damaged   ○ kaiwa models pull NAME   – by hand: pull says how   "
        "sizes are approximate"
    )


def _lines(store: ModelStore, model: Model, begun_bytes: int) -> Iterator[str]:
    is_here = _has(store, model)
    troubles = store.check(model.name, by_size=True) if is_here else []
    mark = "[green]●[/]" if is_here else "○" if model.can_be_pulled else "–"
    mark = "[red]✗[/]" if troubles else mark
    size = f"≈ {model.megabytes} MB" if model.megabytes else ""
    if model.packaged:
        size = "comes with Kaiwa"
    facts = ", ".join(filter(None, (size, f"licence {model.licence}")))
    yield f"  {mark} [cyan]{model.name:13}[/] {escape(model.title)}"
    yield f"    {'':13} {escape(facts)}"
    for warning in filter(None, (model.caution, _damage(troubles, model.name))):
        yield f"    {'':13} [yellow]{escape(warning)}[/]"
    if begun_bytes and not is_here:
        has_come = f"{begun_bytes / 1e6:,.0f} MB have come; pull goes on from there"
        yield f"    {'':13} [yellow]{has_come}[/]"
    for address in _addresses(model):
        yield f"    {'':13} {escape(address)}"


def _damage(troubles: list[Trouble], name: str) -> str:
    told = ", ".join(f"{trouble.path} {trouble.what}" for trouble in troubles)
    return f"{told}: kaiwa models pull --force {name}" if troubles else ""


def _addresses(model: Model) -> Iterator[str]:
    """Where it comes from; of many files, the page that shows them."""
    if 0 < len(model.sources) <= 2:
        yield from (source.url for source in model.sources)
    else:
        yield model.page


@app.command()
def pull(
    names: Annotated[list[str], typer.Argument(help="As `kaiwa models list` shows them.")],
    models_dir: ModelsDir = DEFAULT,
    force: Annotated[
        bool, typer.Option("--force", help="Bring it anew though it is here.")
    ] = False,
) -> None:
    """Download models into models/SLOT/NAME; what broke off is continued.

    The SHA-256 of what comes first is recorded in models/kaiwa-models.json; what is pulled again
    must be the same. Behind a proxy set HTTPS_PROXY.
    """
    store = ModelStore(models_dir)
    chosen = [_known(name) for name in names]
    missing = False
    failures: list[KaiwaError] = []
    for model in chosen:
        if not model.can_be_pulled:
            _say(f"[bold]{model.name}[/]: {escape(model.steps)}")
            missing |= model.needs_steps
        elif _has(store, model) and not force:
            _say(f"[bold]{model.name}[/] is here: {store.folder(model)}")
            troubles = store.check(model.name, by_size=True)
            missing |= bool(troubles)
            _tell(model.name, troubles)
        else:
            try:
                _pull(store, model)
            except KaiwaError as error:  # the others may be elsewhere
                failures.append(error)
    if failures:
        raise KaiwaError("\n".join(map(str, failures)))
    if missing:
        raise typer.Exit(1)


def _pull(store: ModelStore, model: Model) -> None:
    _say(f"[bold]{model.name}[/]: {escape(model.title)}. Licence: {escape(model.licence)}.")
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:

        def told(source: Source) -> Told:
            task = bar.add_task(source.url.rpartition("/")[2][:48], total=None)

            def tell(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total or None)

            return tell

        try:
            pulled = store.pull(model, progress=told)
        except ModelsError as error:
            raise KaiwaError(f"models: {model.name}: {_helped(str(error), store, model)}") from None
    size_mb = sum(stamp.size for stamp in pulled.files.values()) / 1e6
    folder = store.folder(model)
    _say(f"[green]✓[/] {folder}  {len(pulled.files)} files, {size_mb:,.1f} MB")
    for line in _use(store, model):
        _say(f"  {escape(line)}")
    if model.caution:
        _say(f"  [yellow]{escape(model.caution)}[/]")


def _helped(error: str, store: ModelStore, model: Model) -> str:
    if "no connection" not in error:
        return error
    return (
        f"{error}. Is this machine online, or behind a proxy (HTTPS_PROXY)? Or bring "
        f"{_brought(model)} from another machine into "
        f"{store.folder(model)}, archives unpacked"
    )


def _brought(model: Model) -> str:
    if len(model.sources) <= 2:
        return ", ".join(source.url for source in model.sources)
    paths = ", ".join(source.path for source in model.sources)
    return f"{paths}, all of {model.page},"


def _use(store: ModelStore, model: Model) -> Iterator[str]:
    """How it is put to use."""
    folder = store.folder(model)
    match model.slot:
        case "stt" | "tts":
            variable = f"{model.slot.upper()}_MODEL_DIR"
            others = {path.parent for path in folder.parent.glob("*/*.onnx")} - {folder}
            if others or store.root != DEFAULT:
                yield f"to use it: {variable}={folder}"
            else:
                yield f"kaiwa serve uses it from now on (without {model.slot.upper()}_ENDPOINT)"
        case "embedding":
            yield f"to use it: EMBEDDING_PROVIDER=sentence-transformers EMBEDDING_MODEL={folder}"
            yield "or give the folder to text-embeddings-inference: --model-id; then ingest anew"


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="None: all that were pulled.")] = None,
    models_dir: ModelsDir = DEFAULT,
) -> None:
    """Read every file again and compare it with what was recorded when it came."""
    store = ModelStore(models_dir)
    known = _record(store)
    chosen = [_known(name).name for name in names or ()] or sorted(known)
    if not chosen:
        _say(f"Nothing was pulled into {models_dir} yet: kaiwa models list")
        return
    troubled = False
    for name in chosen:
        if name not in known:
            raise KaiwaError(f"models: {name} was never pulled into {models_dir}.")
        if not _is_here(store, name, known[name]):
            _say(f"– {name}: not here (its record is kept)")
            continue
        with console.status(f"reading {name}", spinner="dots"):
            troubles = store.check(name)
        troubled |= bool(troubles)
        _say(f"[red]✗[/] {name}" if troubles else f"[green]✓[/] {name}: as it came")
        _tell(name, troubles)
    if troubled:
        raise typer.Exit(1)


def _tell(name: str, troubles: list[Trouble]) -> None:
    for trouble in troubles:
        _say(f"    {escape(trouble.path)} {trouble.what}")
    if troubles:
        _say(f"    to bring it anew: kaiwa models pull --force {name}")


def _known(name: str) -> Model:
    model = find(name)
    if model is None:
        names = ", ".join(model.name for model in CATALOGUE)
        raise KaiwaError(f"models: there is no {name!r}; known are {names}.")
    return model


def _has(store: ModelStore, model: Model) -> bool:
    try:
        return store.has(model)
    except ModelsError as error:
        raise KaiwaError(f"models: {error}") from None


def _is_here(store: ModelStore, name: str, pulled: Pulled) -> bool:
    try:
        return store.is_here(name, pulled)
    except ModelsError as error:
        raise KaiwaError(f"models: {error}") from None


def _record(store: ModelStore) -> dict[str, Pulled]:
    try:
        return store.pulled()
    except ModelsError as error:
        raise KaiwaError(f"models: {error}") from None


def _say(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)
