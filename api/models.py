"""The documents that the API answers, for its OpenAPI description.

Routes build these documents themselves, from text that the stores give; so no number is ever
rounded on its way. `tests/integration/api` compares the answers with these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
Amount = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["61234.50000000"])]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2024-03-01T00:00:00Z"])]
Market = Annotated[Literal["spot", "usdm", "coinm"], Field(examples=["spot"])]
Symbol = Annotated[str, Field(examples=["BTCUSDT"])]


class ApiDocument(BaseModel):
    """Base of all documents."""

    model_config = ConfigDict(extra="forbid")


class AnswerPage(ApiDocument, Generic[T]):
    """A list, and the cursor of its next rows."""

    data: list[T]
    next: str | None = Field(description="Cursor of the next rows; null when there are no more")


class ProblemDocument(ApiDocument):
    """An error (RFC 9457)."""

    type: str = Field(examples=["urn:tickhouse:problem:unknown-name"])
    title: str = Field(examples=["There is no such market, symbol, reference or id"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["Market spot has no symbol BTCUSD. The nearest: BTCUSDT."])
    next: str = Field(description="What to do next", examples=["GET /v1/symbols?market=spot"])


class SymbolAnswer(ApiDocument):
    """A symbol that the stores hold."""

    market: Market
    symbol: Symbol
    base: str = Field(examples=["BTC"])
    quote: str = Field(examples=["USDT"])
    last_trade_time: Time | None


class Candle(ApiDocument):
    """One OHLC bar."""

    open_time: Time
    open: Amount
    high: Amount
    low: Amount
    close: Amount
    volume: Amount
    quote_volume: Amount
    vwap: Amount | None = Field(description="Volume-weighted average price; null without a volume")
    trades: int
    taker_buy_volume: Amount
    is_closed: bool = Field(description="Whether the interval has ended by this server's clock")


class Latest(ApiDocument):
    """The latest trade of a symbol."""

    market: Market
    symbol: Symbol
    price: Amount
    trade_time: Time | None = Field(description="Null while Redis is down: the price is then a candle's close")
    average_1m: Amount | None = Field(description="Volume-weighted average price of the trade's minute so far")
    event_id: str | None = Field(examples=["binance:spot:BTCUSDT:aggTrade:3000001"])


class Mover(ApiDocument):
    """How far a symbol moved in a window of time."""

    market: Market
    symbol: Symbol
    open: Amount
    close: Amount
    change_percent: Amount
    quote_volume: Amount


class Anything(BaseModel):
    """A document whose members depend on what it is about."""

    model_config = ConfigDict(extra="allow")


JsonObject = dict[str, Any]


class Statistics(ApiDocument):
    """What a symbol did in the 24 hours that end with its newest candle."""

    market: Market
    symbol: Symbol
    from_: Time = Field(alias="from")
    to: Time
    open: Amount
    high: Amount
    low: Amount
    close: Amount
    change_percent: Amount
    volume: Amount
    quote_volume: Amount
    vwap: Amount | None
    trades: int
    source: Literal["candles", "geode"]


class Volatility(ApiDocument):
    """How much the minutes of a day differ."""

    market: Market
    symbol: Symbol
    open_time: Time
    returns: int = Field(description="Number of 1-minute returns")
    variance: Amount
    volatility: Amount
    span: Amount | None = Field(description="(high - low) / low")


class GapAnswer(ApiDocument):
    """Ids that the exchange sent and that did not arrive."""

    market: Market
    symbol: Symbol
    stream: str = Field(examples=["aggTrade"])
    first_id: int
    last_id: int
    detected_at: Time
    state: Literal["open", "filled", "unfillable"]


class ExplanationAnswer(ApiDocument):
    """What each system knows about an event: the document of `tickhouse explain --json`."""

    event_id: str = Field(examples=["binance:spot:BTCUSDT:aggTrade:3000001"])
    found: bool
    systems: JsonObject
    unavailable: dict[str, str]


class AlertAnswer(ApiDocument):
    """An alert that rang."""

    alert_id: str
    rule: str
    kind: str
    severity: Literal["info", "warning", "critical"]
    market: str | None
    symbol: str | None
    raised_at: Time
    summary: str
    values: JsonObject


class GraphQuery(ApiDocument):
    """A question that the graph answers, and its parameters."""

    query: str = Field(examples=["triangles"])
    required: list[str]
    defaults: dict[str, str]
    choices: dict[str, list[str]]


class GraphAnswer(ApiDocument):
    """The rows of a question, and figures over all of them."""

    query: str
    rows: list[JsonObject]
    figures: dict[str, str]
    is_simulated: bool


class CommitAnswer(ApiDocument):
    """A commit of the lake."""

    commit: str
    created_at: Time
    message: str
    parents: list[str]
    metadata: dict[str, str]


class LakeAudit(ApiDocument):
    """The verdict of an audit, as a commit of the lake records it."""

    commit: str
    of: str = Field(description="The commit that was audited")
    at: Time
    ok: bool
    report: str = Field(description="Address of the report")
    warnings: list[str]


class FreshnessAnswer(ApiDocument):
    """How old the latest trade of a symbol is."""

    market: Market
    symbol: Symbol
    last_trade_time: Time
    age_s: float


class Lag(ApiDocument):
    """How far a reader of Kafka is behind."""

    query: str = Field(examples=["stream:candles"])
    records: int
    age_s: float | None = Field(description="Age of the newest trade in Kafka while the reader is behind, else 0")


class Status(ApiDocument):
    """The state of the pipeline."""

    is_synthetic: bool
    exchange: str
    freshness: list[FreshnessAnswer]
    lag: list[Lag]
    gaps_open: int | None
    dead_letters: int | None
    unavailable: dict[str, str] = Field(description="Systems that do not answer, and why")


class OpsBoardName(ApiDocument):
    """A board of the operations page."""

    board: str = Field(examples=["tickhouse-pipeline"])
    title: str = Field(examples=["Pipeline health"])
    description: str


class OpsThreshold(ApiDocument):
    """From which value on a colour holds; null is the lowest."""

    at_least: float | None
    color: str = Field(examples=["green"])


class OpsWord(ApiDocument):
    """What stands for a value."""

    text: str = Field(examples=["up"])
    color: str = Field(examples=["green"])


class OpsSeries(ApiDocument):
    """One line of a panel: seconds since 1970 and value; null where there is no number."""

    name: str = Field(examples=["postgres candles"])
    points: list[tuple[float, float | None]]


class OpsPanelAnswer(ApiDocument):
    """A panel with its values."""

    panel: int
    title: str
    description: str
    kind: str = Field(examples=["timeseries"])
    unit: str = Field(description="Grafana's name of the unit", examples=["s"])
    width: int = Field(description="In columns of 24")
    thresholds: list[OpsThreshold]
    words: dict[str, OpsWord]
    series: list[OpsSeries]
    problem: str | None = Field(description="Why Prometheus refused a query; null when it did not")


class OpsBoardAnswer(ApiDocument):
    """A board with its panels."""

    board: str
    title: str
    description: str
    at: float = Field(description="Seconds since 1970")
    range_s: int
    step_s: int
    panels: list[OpsPanelAnswer]


class OpsAlertAnswer(ApiDocument):
    """An alert of Prometheus's rules."""

    alert: str = Field(examples=["StoreDown"])
    severity: str = Field(examples=["critical"])
    state: str = Field(examples=["firing"])
    since: str
    summary: str
    description: str
    runbook: str
    labels: dict[str, str]
