"""LitServe: an echo in batches of at most 32, window 5 ms."""

import sys

import litserve


class Echo(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return request["rows"]

    def batch(self, inputs):
        return inputs

    def unbatch(self, output):
        return output

    def predict(self, x):
        return x

    def encode_response(self, output):
        return {"rows": output}


if __name__ == "__main__":
    server = litserve.LitServer(Echo(max_batch_size=32, batch_timeout=0.005), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="error", access_log=False)
