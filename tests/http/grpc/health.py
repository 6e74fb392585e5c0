"""Asks gRPC's health service as any client does, and prints each answer as a line.

health.py METHOD TARGET SERVICE SECONDS [KEY=VALUE...]

METHOD is check, watch or list; watch ends with the call. The last line of a call that failed is its code. The keys are
`ca`, `cert` and `key` for files of TLS, and `token` for one that is shown.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

STATUS = health_pb2.HealthCheckResponse.ServingStatus


def channel(target, options):
    if "ca" not in options:
        return grpc.insecure_channel(target)
    files = {key: open(path, "rb").read() for key, path in options.items() if key != "token"}
    credentials = grpc.ssl_channel_credentials(files["ca"], files.get("key"), files.get("cert"))
    return grpc.secure_channel(target, credentials)


def say(line):
    print(line, flush=True)


def main():
    method, target, service, seconds, *rest = sys.argv[1:]
    options = dict(option.split("=", 1) for option in rest)
    metadata = [("authorization", "Bearer " + options["token"])] if "token" in options else []
    health = health_pb2_grpc.HealthStub(channel(target, options))
    asked = {"timeout": float(seconds), "metadata": metadata}
    request = health_pb2.HealthCheckRequest(service=service)
    try:
        if method == "check":
            say(STATUS.Name(health.Check(request, **asked).status))
        elif method == "watch":
            for answer in health.Watch(request, **asked):
                say(STATUS.Name(answer.status))
        elif method == "list":
            statuses = health.List(health_pb2.HealthListRequest(), **asked).statuses
            for name in sorted(statuses):
                say(f"{name}={STATUS.Name(statuses[name].status)}")
    except grpc.RpcError as error:
        say(error.code().name)


main()
