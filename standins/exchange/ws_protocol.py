"""Client messages of the market streams and the responses (Binance docs, web-socket-streams)."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from standins.exchange.frames import ALL_MINI, compact

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
ID_TEXT = re.compile(r"[A-Za-z0-9_-]{1,36}")
STREAM = re.compile(r"[^\s@/]{1,40}@[A-Za-z]+[A-Za-z0-9_+:@]*")

UNKNOWN_PROPERTY, WRONG_TYPE, INVALID_REQUEST, INVALID_JSON = range(4)


class ProtocolError(Exception):
    """A wrong client message; the response is `{"code":…,"msg":…}`."""

    def __init__(self, code: int, message: str, request_id: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request_id = request_id

    def response(self) -> str:
        """Return the response to the client."""
        tail = {} if self.request_id is None else {"id": self.request_id}
        return compact({"code": self.code, "msg": self.message, **tail})


class ClientMessage(NamedTuple):
    """One valid client message."""

    method: str
    params: list[Any]
    request_id: Any


def parse_request(text: str | bytes) -> ClientMessage:
    """Parse one client message.

    Raises:
        ProtocolError: It is no JSON object with a known method, a list of params and a valid id.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ProtocolError(INVALID_JSON, f"Invalid JSON: {error}") from error
    if not isinstance(document, dict):
        raise ProtocolError(INVALID_REQUEST, "Invalid request: expected an object")
    request_id = _checked_id(document.get("id"))
    method, params = document.get("method"), document.get("params", [])
    if method is None:
        raise ProtocolError(INVALID_REQUEST, "Invalid request: missing field `method`", request_id)
    if method not in METHODS:
        known = ", ".join(f"`{name}`" for name in METHODS)
        raise ProtocolError(
            INVALID_REQUEST, f"Invalid request: unknown variant `{method}`, expected one of {known}", request_id
        )
    if not isinstance(params, list):
        raise ProtocolError(INVALID_REQUEST, "Invalid request: params must be a sequence", request_id)
    return ClientMessage(method, params, request_id)


def _checked_id(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    is_text = isinstance(value, str) and ID_TEXT.fullmatch(value) is not None
    if value is None or is_number or is_text:
        return value
    raise ProtocolError(
        INVALID_REQUEST, "Invalid request: request ID must be an integer, an alphanumeric string of 36, or null"
    )


def stream_names(request: ClientMessage) -> list[str]:
    """Return the stream names of a SUBSCRIBE or UNSUBSCRIBE.

    Raises:
        ProtocolError: A name is no string, or has not the form of a stream name.
    """
    for name in request.params:
        if not isinstance(name, str):
            raise ProtocolError(WRONG_TYPE, "Invalid value type: expected String", request.request_id)
        if not is_stream(name):
            raise ProtocolError(INVALID_REQUEST, f"Invalid request: invalid stream {name!r}", request.request_id)
    return list(request.params)


def is_stream(name: str) -> bool:
    """Return whether a name has the form of a stream name.

    A stream of an unknown symbol sends nothing.
    """
    return name == ALL_MINI or STREAM.fullmatch(name) is not None or name.startswith("!")


def is_on_route(name: str, route: str) -> bool:
    """Return whether Binance's futures send a stream on a route.

    An address without one acts as `public`.
    """
    is_public = name.partition("@")[2].startswith(("trade", "bookTicker", "depth"))
    return is_public is (route != "market")


def property_of(request: ClientMessage) -> bool | None:
    """Return the value that SET_PROPERTY sets for `combined`; None for GET_PROPERTY.

    Raises:
        ProtocolError: The property is not `combined`, or its value is no boolean.
    """
    wants_set = request.method == "SET_PROPERTY"
    if len(request.params) != (2 if wants_set else 1):
        raise ProtocolError(INVALID_REQUEST, "Invalid request: wrong number of parameters", request.request_id)
    if not isinstance(request.params[0], str):
        raise ProtocolError(INVALID_REQUEST, "Invalid request: property name must be a string", request.request_id)
    if request.params[0] != "combined":
        raise ProtocolError(UNKNOWN_PROPERTY, "Unknown property", request.request_id)
    if not wants_set:
        return None
    if not isinstance(request.params[1], bool):
        raise ProtocolError(WRONG_TYPE, "Invalid value type: expected Boolean", request.request_id)
    return request.params[1]


def success(result: Any, request_id: Any) -> str:
    """Return the response to a valid message; it never has the envelope of a stream."""
    return compact({"result": result, "id": request_id})
