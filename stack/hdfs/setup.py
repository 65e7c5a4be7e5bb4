"""Hooks of HDFS: format the name node before the first start, readiness."""

from __future__ import annotations

import json
import subprocess
import urllib.request

from common.errors import ServiceNotReady
from common.settings import ports
from stack.engine.context import ServiceContext
from stack.engine.fetch import java_program
from stack.engine.probe import accepts_connections

PROBE_S = 5.0
# No proxy: the name node listens on the loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def format_name_node(context: ServiceContext) -> None:
    """Create the name node's empty file system, once.

    Raises:
        ServiceNotReady: The tool failed; the message holds the end of its output.
    """
    if (context.data / "name" / "current" / "VERSION").exists():
        return
    tool = ["org.apache.hadoop.hdfs.server.namenode.NameNode", "-format", "-nonInteractive"]
    command = [str(java_program()), f"@{context.conf / 'jvm.options'}", *tool]
    done = subprocess.run(command, env=context.env(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        end = "\n".join(done.stderr.splitlines()[-20:])
        raise ServiceNotReady(f"The name node was not formatted:\n{end}", next_command="tickhouse doctor")


def is_ready(_context: ServiceContext) -> bool:
    """Return whether the name node has left safe mode and sees its data node."""
    port = ports()["hdfs_namenode_http"]
    if not accepts_connections(f"127.0.0.1:{port}"):
        return False
    url = f"http://127.0.0.1:{port}/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
    with _opener.open(url, timeout=PROBE_S) as response:
        beans = json.load(response)["beans"]
    return any(bean.get("NumLiveDataNodes", 0) >= 1 and bean.get("FSState") == "Operational" for bean in beans)
