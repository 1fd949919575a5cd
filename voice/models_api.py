"""Models over HTTP: what the servers have, which one answers, how it is asked.

    GET  /api/models                  all, by server             GET /api/models/current
    POST /api/models/switch           {"model_name": "…"}        GET /api/models/{name}
    GET  /api/models/{name}/config    PUT: temperature, max_tokens, context_length; all optional

A change holds from the next answer of every call on, until a restart or reload-config. A name may
hold `:` and `/`.
"""

from typing import Annotated, Any

from litestar import Request, Response, get, post, put
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict

from voice.api_errors import refused
from voice.body_fields import all_fields
from voice.config import Count
from voice.config_kinds import PromptTokens
from voice.models import CannotAsk, ModelEntry, Models, NoModels, NoSuchModel
from voice.transports.websocket import Refusal

CONFIG = "/config"


class SwitchModel(Struct, forbid_unknown_fields=True):
    model_name: Annotated[str, Meta(min_length=1, max_length=300)]


class TuneModel(Struct, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None | UnsetType = UNSET
    """null: the server's own."""
    max_tokens: Count | UnsetType = UNSET
    """Of an answer."""
    context_length: PromptTokens | UnsetType = UNSET
    """Tokens of the prompt; the oldest turns leave first."""


class ModelConfig(Struct):
    model_name: str
    temperature: float | None
    max_tokens: int
    context_length: int


class Model(Struct):
    model_name: str
    provider: str
    endpoint: str
    current: bool
    config: ModelConfig


class ServerEntry(Struct):
    provider: str
    endpoint: str
    model: str
    """The one that it is asked for."""
    problem: str
    """Why its models are not known."""


class ModelList(Struct):
    current: str | None
    models: list[Model]
    servers: list[ServerEntry]
    note: str
    """Why there are no models, where the language model has none."""


def _models(request: Request[Any, Any, Any]) -> Models:
    models: Models = request.app.state.desk.models
    return models


def _config(entry: ModelEntry) -> ModelConfig:
    tuned = entry.tuned
    return ModelConfig(entry.model_name, tuned.temperature, tuned.max_tokens, tuned.context_tokens)


def _model(entry: ModelEntry) -> Model:
    return Model(entry.model_name, entry.provider, entry.endpoint, entry.current, _config(entry))


@get("/api/models", summary="What each language-model server offers, and what answers now")
async def list_models(request: Request[Any, Any, Any]) -> ModelList:
    models = _models(request)
    offers = await models.offers()
    servers = [
        ServerEntry(info.provider, info.endpoint, info.model, offer.problem)
        for offer in offers
        for info in (offer.server.info,)
    ]
    entries = [_model(entry) for entry in models.entries(offers)]
    return ModelList(models.current or None, entries, servers, models.note)


@get("/api/models/current", summary="The model that answers")
async def current_model(request: Request[Any, Any, Any]) -> Model:
    return _model(_models(request).shown_current())


@post(
    "/api/models/switch",
    status_code=200,
    summary="Let another model answer from now on",
    before_request=all_fields(SwitchModel),
)
async def switch_model(request: Request[Any, Any, Any], data: JSONBody[SwitchModel]) -> Model:
    return _model(await _models(request).switch(data.model_name))


@get("/api/models/{name:path}", summary="A model; with /config behind its name, how it is asked")
async def show_model(request: Request[Any, Any, Any], name: FromPath[str]) -> Model | ModelConfig:
    models, name = _models(request), name.lstrip("/")
    if name.endswith(CONFIG):
        return _config(await models.show(name.removesuffix(CONFIG)))
    return _model(await models.show(name))


@put(
    "/api/models/{name:path}",
    summary="With /config behind the name: how the model is asked",
    before_request=all_fields(TuneModel),
)
async def tune_model(
    request: Request[Any, Any, Any], name: FromPath[str], data: JSONBody[TuneModel]
) -> ModelConfig:
    name = name.lstrip("/")
    if not name.endswith(CONFIG):
        raise NotFoundException(f"To tune a model, PUT /api/models/{name}/config")
    given = {key: value for key, value in asdict(data).items() if value is not UNSET}
    if "context_length" in given:
        given["context_tokens"] = given.pop("context_length")
    return _config(await _models(request).tune(name.removesuffix(CONFIG), **given))


# --- what is wrong --------------------------------------------------------------------------------


def _no_such_model(request: Request[Any, Any, Any], error: NoSuchModel) -> Response[Any]:
    refusal = Refusal(404, "no_such_model", str(error))
    return refused(request, refusal, offered=list(error.offered))


def _no_models(request: Request[Any, Any, Any], error: NoModels) -> Response[Any]:
    return refused(request, Refusal(409, "no_models", str(error)))


def _cannot_ask(request: Request[Any, Any, Any], error: CannotAsk) -> Response[Any]:
    return refused(request, Refusal(503, "models_unknown", str(error)))


HANDLERS: dict[Any, Any] = {
    NoModels: _no_models,
    NoSuchModel: _no_such_model,
    CannotAsk: _cannot_ask,
}
ROUTES = [list_models, current_model, switch_model, show_model, tune_model]
