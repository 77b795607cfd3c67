"""mosec: an echo in batches of at most 32, window 5 ms."""

import sys

from mosec import Server, Worker


class Echo(Worker):
    def forward(self, data):
        return [{"rows": request["rows"]} for request in data]


if __name__ == "__main__":
    port, sys.argv[1:] = sys.argv[1], ["--address", "127.0.0.1", "--port", sys.argv[1]]
    server = Server()
    server.append_worker(Echo, num=1, max_batch_size=32, max_wait_time=5)
    server.run()
