"""mosec: a front in Rust, WORKERS Python processes, each with batches of up to eight.

    python mosec_server.py --address 127.0.0.1 --port PORT --timeout 600000 --capacity 1024
"""

import os

from mosec import Server, Worker


class Classify(Worker):
    def __init__(self):
        from pipeline import Pipeline  # Here, so that the process which only starts others does not load an engine.

        self.pipeline = Pipeline()

    def deserialize(self, data):
        return data

    def forward(self, bodies):
        return self.pipeline.answers(bodies)


if __name__ == "__main__":
    server = Server()
    # The defaults end a request after three seconds, which eight VGGs in a queue exceed.
    server.append_worker(Classify, num=int(os.environ["WORKERS"]), max_batch_size=8, max_wait_time=1, timeout=600)
    server.run()
