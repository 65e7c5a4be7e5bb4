"""Varints are equal to those of fastavro."""

from __future__ import annotations

from io import BytesIO

import fastavro
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producer.encoding import varint as module
from producer.encoding.varint import length, varint
from producer.parsing.decimals import CACHE_SIZE

EDGES = sorted({sign * ((1 << bits) + near) for bits in range(63) for near in (-1, 0, 1) for sign in (1, -1)})


def written(number):
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, "long", number)
    return buffer.getvalue()


@pytest.mark.parametrize("number", [*EDGES, 2**63 - 1, -(2**63)])
def test_every_edge_of_a_group_of_bits(number):
    assert varint(number) == written(number)


@given(st.integers(-(2**63), 2**63 - 1))
@example(1_723_161_240_000_000)
def test_longs_are_those_of_fastavro(number):
    assert varint(number) == written(number)


@pytest.mark.parametrize("size", [0, 63, 64, 4095, 4096, 70_000])
def test_lengths_are_longs(size):
    assert length(size) == written(size)


def test_the_cache_of_upper_bits_is_bounded():
    for number in range(0, (CACHE_SIZE + 10) << 14, 1 << 13):
        varint(number)
    assert len(module._upper) <= CACHE_SIZE
    assert varint(10**15) == written(10**15)
