"""Calls an app with the unmodified Python SDK, by HTTP and by gRPC, and prints what came back.

Reads DAPR_HTTP_PORT and DAPR_GRPC_PORT as every app does. Usage: invoke.py APP_ID
"""

import json
import sys
import warnings

from dapr.clients import DaprClient
from dapr.clients.grpc.client import DaprGrpcClient

warnings.simplefilter("ignore", DeprecationWarning)
APP_ID = sys.argv[1]
ORDER = json.dumps({"orderId": "41"})


def by_http():
    with DaprClient() as client:
        answer = client.invoke_method(APP_ID, "neworder", ORDER, content_type="application/json", http_verb="POST",
                                      metadata=(("x-sdk", "python"),), http_querystring=(("from", "http"),))
        return {"status": answer.status_code, "type": answer.content_type, "body": answer.json()}


def by_grpc():
    client = DaprGrpcClient()
    try:
        answer = client.invoke_method(APP_ID, "neworder", ORDER, content_type="application/json", http_verb="POST",
                                      http_querystring=(("from", "grpc"),))
        return {"type": answer.content_type, "body": json.loads(answer.data)}
    finally:
        client.close()


def refused():
    with DaprClient() as client:
        try:
            client.invoke_method("nobody", "neworder", ORDER, http_verb="POST")
        except Exception as error:  # the SDK's own error type carries the sidecar's text
            return str(error)
    return None


print(json.dumps({"http": by_http(), "grpc": by_grpc(), "refused": refused()}))
