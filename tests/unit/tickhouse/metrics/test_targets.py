from __future__ import annotations

from stack.engine.lifecycle import catalog
from tickhouse.metrics.targets import JOBS, SPARK, wanted


def jobs(programs: set[str], **more: bool) -> list[str]:
    return [job.job for job in wanted(programs, **({"is_light": False, "has_driver": False} | more))]


def test_only_programs_of_this_home_are_scraped() -> None:
    assert jobs({"kafka", "redis_exporter", "registry"}) == ["redis", "kafka"]


def test_a_small_machine_has_no_agents() -> None:
    assert jobs({"kafka", "redis_exporter"}, is_light=True) == ["redis"]


def test_spark_is_scraped_while_its_driver_runs() -> None:
    assert jobs(set(), has_driver=True) == [job.job for job in SPARK]


def test_every_job_names_a_program_that_there_is() -> None:
    programs = {name for service in catalog().values() for name in service.all_programs()}

    assert {job.program for job in JOBS} <= programs
    ports = {port for service in catalog().values() for port in service.ports}
    assert {job.port for job in JOBS} <= ports
