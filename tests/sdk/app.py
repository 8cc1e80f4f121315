"""An app of the unmodified Python SDK that answers orders. Usage: app.py PORT"""

import json
import sys

from dapr.ext.grpc import App, InvokeMethodRequest, InvokeMethodResponse

app = App()


@app.method("neworder")
def new_order(request: InvokeMethodRequest) -> InvokeMethodResponse:
    answer = {"got": json.loads(request.text())["orderId"], "by": "sdk"}
    return InvokeMethodResponse(json.dumps(answer), "application/json")


app.run(int(sys.argv[1]), "127.0.0.1")
