"""An executor that lets a failed scheduler exit although the streaming job never ends.

After an unknown error (for example while its database is starting up) the scheduler ends its
executor and exits, and supervisord starts it again. LocalExecutor would first wait for its tasks.
Because the streaming job never ends, the scheduler would never exit: supervisord would show it as
running, but it would schedule nothing.
"""

from __future__ import annotations

import sys
import time

from airflow.executors.local_executor import LocalExecutor

# A Spark driver first ends its open batches; see STOP_WAIT_S in spark/streaming/job.py.
END_S = 60.0


class Executor(LocalExecutor):
    """LocalExecutor that ends its tasks when the scheduler failed.

    The next scheduler retries them.
    """

    def end(self) -> None:
        """End like LocalExecutor.

        After a failure, first terminate the running tasks, then kill them.
        """
        if isinstance(sys.exception(), Exception):  # a normal stop is SystemExit and ends the tasks itself
            self._end_tasks()
        super().end()

    def _end_tasks(self) -> None:
        deadline = time.monotonic() + END_S
        for worker in self.workers.values():
            worker.terminate()  # the worker passes it to its task; an idle worker waits for the message below
        for _ in self.workers:
            self.activity_queue.put(None)
        for worker in self.workers.values():
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                worker.kill()
