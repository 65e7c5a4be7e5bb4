"""Parameters of requests: their types, and how a text becomes a time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_TIME: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII | re.IGNORECASE
)
FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Later times have no candle, and arithmetic with an interval must not leave the range of datetime.
LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)


def parse_moment(value: object) -> object:
    """Return a text as a time in UTC, within [1970, 9000], which keeps arithmetic safe (pure).

    Raises:
        ValueError: It is not ISO 8601.
    """
    if not isinstance(value, str):
        return value
    if _TIME.fullmatch(value) is None:
        raise ValueError("expected an ISO 8601 time, such as 2024-08-08 or 2024-08-08T12:30:00Z")
    parsed = datetime.fromisoformat(value.upper())
    try:
        moment = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except OverflowError:  # an offset that leaves the first or the last year
        moment = parsed.replace(tzinfo=UTC)
    return min(max(moment, FIRST), LAST)


_TIME_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "format": "date-time",
    "examples": ["2024-08-08T00:00:00Z"],
}
Moment = Annotated[datetime, BeforeValidator(parse_moment), WithJsonSchema(_TIME_SCHEMA)]
MarketName = Annotated[str, Field(min_length=1, max_length=16, examples=["spot"], description="spot, usdm or coinm")]
SymbolName = Annotated[
    str, Field(min_length=1, max_length=50, examples=["BTCUSDT"], description="The exchange's own symbol, in any case")
]
Reference = Annotated[
    str, Field(min_length=1, max_length=200, examples=["main"], description="Branch, tag or commit of the lake")
]
Limit = Annotated[int, Field(ge=1, le=1000, description="Most rows of the answer")]
# How many rows come before the wanted ones.
Offset = Annotated[str, Field(pattern="^[0-9]{1,9}$", description="`next` of the answer before")]


class Parameters(BaseModel):
    """Base of the parameters of an address; a name that it does not have is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SymbolParameters(Parameters):
    """Which symbols, all when neither is given."""

    market: MarketName | None = None
    symbol: SymbolName | None = None


AnySymbol = Annotated[SymbolParameters, Query()]
