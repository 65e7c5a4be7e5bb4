"""Put the index templates into Elasticsearch and the saved objects of the logs into Kibana.

    python -m compose.provision_logs

Repeated runs overwrite the objects: their ids are fixed.
"""

from __future__ import annotations

import os
import sys

import httpx

from common.errors import StoreUnavailable, TickhouseError
from common.settings import REPO, Settings, load_settings
from stack.elasticsearch.setup import put_templates
from stack.engine.context import ServiceContext
from stack.engine.lifecycle import catalog

OBJECTS = REPO / "observe" / "logs" / "kibana.ndjson"
IMPORT_S = 60.0


def main() -> int:
    """Run both steps and return the exit code."""
    settings = load_settings()
    try:
        put_templates(ServiceContext(catalog()["elasticsearch"], settings))
        import_objects(settings, os.environ["KIBANA_URL"])
    except TickhouseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def import_objects(settings: Settings, kibana: str) -> None:
    """Import the saved objects.

    Args:
        settings: Login of Elasticsearch's administrator, which Kibana takes as well.
        kibana: Address of Kibana.

    Raises:
        StoreUnavailable: Kibana does not answer, or refused an object.
    """
    _, user, password = settings.elasticsearch_login("admin")
    try:
        answer = httpx.post(
            f"{kibana}/api/saved_objects/_import",
            params={"overwrite": "true"},
            headers={"kbn-xsrf": "tickhouse"},
            files={"file": (OBJECTS.name, OBJECTS.read_bytes(), "application/ndjson")},
            auth=(user, password),
            timeout=IMPORT_S,
        )
        if answer.status_code != httpx.codes.OK or not answer.json().get("success"):
            raise StoreUnavailable(f"Kibana refused the objects: {answer.text[:500]}")
    except httpx.HTTPError as error:
        raise StoreUnavailable(f"Kibana does not answer: {error!r}.") from error


if __name__ == "__main__":
    sys.exit(main())
