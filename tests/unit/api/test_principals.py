from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from api.principals import READ, RULES, SESSION_S, Principals
from api.rate_limits import MOST_CALLERS, RateLimits, retry_after
from common.settings import Settings


def principals(**changed: str) -> Principals:
    values = {"api_read_key": "r" * 32, "api_rules_key": "w" * 32, "api_session_secret": "s" * 64, **changed}
    return Principals(Settings(_env_file=None).model_copy(update={k: SecretStr(v) for k, v in values.items()}))  # type: ignore[call-arg]


def test_keys_have_their_scopes() -> None:
    known = principals()
    reader, ruler = known.of_key(b"r" * 32), known.of_key(b"w" * 32)
    assert reader is not None
    assert ruler is not None
    assert (reader.scopes, ruler.scopes) == ({READ}, {READ, RULES})
    assert known.of_key(b"r" * 31) is None


def test_a_home_without_keys_lets_nobody_in() -> None:
    known = principals(api_read_key="", api_rules_key="", api_session_secret="")
    assert known.of_key(b"") is None
    assert known.of_cookie(known.new_cookie(80), 80) is None


def test_a_session_is_for_one_port_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    known = principals()
    cookie = known.new_cookie(21091).partition(";")[0]
    session = known.of_cookie(f"other=1; {cookie}", 21091)
    assert session is not None
    assert session.scopes == {READ}
    assert known.of_cookie(cookie, 21092) is None
    assert principals(api_session_secret="t" * 64).of_cookie(cookie, 21091) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + SESSION_S + 1)
    assert known.of_cookie(cookie, 21091) is None


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_any_cookie_header_is_a_session_or_none(text: str) -> None:
    known = principals()
    assert known.of_cookie(text, 1) is None
    assert known.of_cookie(f"tickhouse_session_1={text}", 1) is None
    assert known.of_key(text.encode("latin-1")) is None


def test_a_bucket_fills_again() -> None:
    limits = RateLimits(10)
    assert [limits.take("a", 0.0) for _ in range(10)] == [0.0] * 10
    assert limits.take("a", 0.0) == pytest.approx(0.1)
    assert limits.take("b", 0.0) == 0.0
    assert limits.take("a", 0.1) == 0.0
    assert limits.take("a", 0.1, cost=5) == pytest.approx(0.5)
    assert [limits.take("a", 9.0) for _ in range(11)][-1] > 0, "it never holds more than a second's worth"


def test_a_costly_request_is_possible_with_a_small_limit() -> None:
    assert RateLimits(5).take("a", 0.0, cost=50) == 0.0


def test_many_callers_do_not_fill_the_memory() -> None:
    limits = RateLimits(1)
    for number in range(MOST_CALLERS + 10):
        limits.take(str(number), 0.0)
    assert len(limits._buckets) == MOST_CALLERS


def test_retry_after_has_whole_seconds() -> None:
    assert [retry_after(wait_s) for wait_s in (0.01, 1.0, 1.2)] == ["1", "1", "2"]
