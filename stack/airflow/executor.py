"""LocalExecutor whose scheduler can fail while a task runs that never ends by itself.

A scheduler that meets an error it does not know (its database is starting up, say) ends its executor, and the
supervisor starts it again. LocalExecutor ends by waiting for its tasks, and the streaming job never ends: the scheduler
would stay for ever, alive to the supervisor and scheduling nothing.
"""

from __future__ import annotations

import sys
import time

from airflow.executors.local_executor import LocalExecutor

# A driver ends its open batches first; see STOP_WAIT_S in spark/streaming.py.
END_S = 60.0


class Executor(LocalExecutor):
    """LocalExecutor that ends its tasks when the scheduler failed; the next scheduler gives them a new try."""

    def end(self) -> None:
        """End as LocalExecutor does; after a failure ask running tasks to end first, and force them after a while."""
        if isinstance(sys.exception(), Exception):  # a stop from outside is SystemExit, and stops the tasks itself
            self._end_tasks()
        super().end()

    def _end_tasks(self) -> None:
        deadline = time.monotonic() + END_S
        for worker in self.workers.values():
            worker.terminate()  # the worker passes it on to its task; an idle one waits for the closing message
        for _ in self.workers:
            self.activity_queue.put(None)
        for worker in self.workers.values():
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                worker.kill()
