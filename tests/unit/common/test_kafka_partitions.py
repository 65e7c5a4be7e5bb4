from __future__ import annotations

import pytest

from common.kafka_partitions import murmur2


@pytest.mark.parametrize(
    ("key", "hashed"),
    # org.apache.kafka.common.utils.UtilsTest.testMurmur2
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536),
     ("a-little-bit-longer-string", -1486304829), ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
     ("abc", 479470107)],
)  # fmt: skip
def test_murmur2_is_kafkas(key, hashed):
    assert murmur2(key.encode()) == hashed & 0xFFFFFFFF
