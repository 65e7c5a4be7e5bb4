"""The pipeline of Logstash, written from `observe/logs/sources.yaml`:

    python -m tickhouse.logs.logstash_pipeline > observe/logs/logstash/pipeline.conf

It makes the fields that `tickhouse/logs/parsing.py` makes for rsyslog, with the same patterns.
"""

from __future__ import annotations

import json
import sys

import jinja2

from common.settings import REPO
from tickhouse.logs.parsing import FIELDS
from tickhouse.logs.sources import LogFormat, LogSources, log_sources

FOLDER = REPO / "observe" / "logs" / "logstash"


def pipeline(sources: LogSources) -> str:
    """Return the text of the pipeline."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - a configuration file, not HTML
        keep_trailing_newline=True,
    )
    return environment.get_template("pipeline.conf.j2").render(
        sources=sources,
        programs=[(formats, json.dumps(names)) for formats, names in _programs(sources)],
        levels=sorted(sources.level_by_name.items()),
        kept=sorted({name.partition(".")[0] for name in FIELDS} | {"labels"}),
        times=_times,
    )


def _programs(sources: LogSources) -> list[tuple[tuple[str, ...], list[str]]]:
    """Return the sources of each list of formats; plain text needs no filter."""
    found: dict[tuple[str, ...], list[str]] = {}
    declared = {**sources.programs, **{name: files.formats for name, files in sources.files.items()}}
    for name, formats in sorted(declared.items()):
        if formats != ("plain",):
            found.setdefault(formats, []).append(name)
    return sorted(found.items())


def _times(one: LogFormat) -> tuple[str, ...]:
    if one.time is None:
        return ()
    return (one.time.logstash,) if isinstance(one.time.logstash, str) else one.time.logstash


if __name__ == "__main__":
    sys.stdout.write(pipeline(log_sources()))
