"""Kinds of settings that several sections have: what they may be."""

from typing import Annotated

from msgspec import Meta

Share = Annotated[float, Meta(gt=0, lt=1)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
PromptTokens = Annotated[int, Meta(ge=100, le=1_000_000)]
"""Below it no question fits beside the instructions."""
Milliseconds = Annotated[int, Meta(ge=0, le=60_000)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
"""A time limit, where zero would mean that nothing ever works."""
Delay = Annotated[float, Meta(ge=0, le=60_000)]
