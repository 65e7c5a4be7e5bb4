"""Names of the JVM are looked up once."""

from __future__ import annotations

import pytest
from py4j.java_gateway import JavaClass, JavaPackage, JVMView
from pyspark.sql import SparkSession

from spark.java_names import remember_java_names


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Yield the names that the JVM is asked for; restore py4j afterwards."""
    asked: list[str] = []
    for holder in (JVMView, JavaPackage, JavaClass):
        plain = getattr(holder.__getattr__, "asks", holder.__getattr__)

        def counted(self: object, name: str, plain: object = plain) -> object:
            asked.append(name)
            return plain(self, name)  # type: ignore[operator]

        monkeypatch.setattr(holder, "__getattr__", counted)
    return asked


def test_a_name_is_asked_for_once(spark: SparkSession, questions: list[str]) -> None:
    jvm = JVMView(spark.sparkContext._gateway._gateway_client, "test", spark.sparkContext._jvm._id)
    remember_java_names()
    remember_java_names()
    for number in range(3):
        assert jvm.java.lang.Integer.parseInt(str(number)) == number
        assert jvm.java.lang.Integer.MAX_VALUE == 2**31 - 1

    assert [name for name in questions if name != "MAX_VALUE"] == ["java", "lang", "Integer", "parseInt"]
    assert questions.count("MAX_VALUE") == 3, "a value may change, so it is not remembered"
