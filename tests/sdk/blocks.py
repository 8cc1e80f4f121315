"""Uses the building blocks with the unmodified Python SDK and prints what came back.

Reads DAPR_HTTP_PORT and DAPR_GRPC_PORT as every app does. The components are `store`, `vault`, `settings`, `locks` and
`keys`. Prints `subscribed` once it waits for a change of the setting `colour`, and an object at the end.
"""

import json
import queue
import warnings

from dapr.clients import DaprClient
from dapr.clients.grpc._crypto import DecryptOptions, EncryptOptions
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType
from dapr.clients.grpc._state import Concurrency, Consistency, StateItem, StateOptions

warnings.simplefilter("ignore")


def refusal(call):
    """The code and the text of an error that the call must end in."""
    try:
        call()
    except Exception as error:
        return [error.code().name, error.details()]
    return None


def state(client):
    client.save_state("store", "python", json.dumps({"n": 1}))
    first = client.get_state("store", "python")
    options = StateOptions(consistency=Consistency.strong, concurrency=Concurrency.first_write)
    client.save_state("store", "python", "2", etag=first.etag, options=options)
    stale = refusal(lambda: client.save_state("store", "python", "3", etag=first.etag, options=options))
    client.save_bulk_state("store", [StateItem("python-a", "a"), StateItem("python-b", "b")])
    upsert, delete = TransactionOperationType.upsert, TransactionOperationType.delete
    client.execute_state_transaction("store", [
        TransactionalStateOperation("python-c", "c", operation_type=upsert),
        TransactionalStateOperation("python-a", "", operation_type=delete),
    ])
    keys = ["python", "python-a", "python-b", "python-c"]
    bulk = client.get_bulk_state("store", keys, parallelism=2)
    client.delete_state("store", "python")
    return {
        "first": json.loads(first.data),
        "stale": stale,
        "bulk": {item.key: item.data.decode() for item in bulk.items},
        "deleted": client.get_state("store", "python").data.decode(),
        "unknown": refusal(lambda: client.get_state("nowhere", "key")),
    }


def secrets(client):
    return {
        "one": dict(client.get_secret("vault", "db").secret),
        "all": {name: dict(secret) for name, secret in client.get_bulk_secret("vault").secrets.items()},
        "missing": refusal(lambda: client.get_secret("vault", "nothing")),
    }


def configuration(client):
    events = queue.Queue()
    item = client.get_configuration("settings", ["colour"]).items["colour"]
    subscription = client.subscribe_configuration("settings", ["colour"], lambda _, event: events.put(event))
    print("subscribed", flush=True)
    change = events.get(timeout=20).items["colour"]
    return {
        "value": [item.value, item.version],
        "change": [change.value, change.version],
        "unsubscribed": client.unsubscribe_configuration("settings", subscription),
    }


def lock(client):
    first = client.try_lock("locks", "door", "me", 60).success
    other = client.try_lock("locks", "door", "you", 60).success
    strange = client.unlock("locks", "door", "you").status.name
    own = client.unlock("locks", "door", "me").status.name
    again = client.unlock("locks", "door", "me").status.name
    return {"first": first, "other": other, "strange": strange, "own": own, "again": again}


def crypto(client):
    plain = "hello " * 20000
    options = EncryptOptions(component_name="keys", key_name="wrap", key_wrap_algorithm="AES")
    document = client.encrypt(plain, options).read()
    decrypted = client.decrypt(document, DecryptOptions(component_name="keys")).read()
    return {"scheme": document[:14].decode(), "same": decrypted.decode() == plain}


with DaprClient() as client:
    blocks = [state, secrets, configuration, lock, crypto]
    print(json.dumps({block.__name__: block(client) for block in blocks}))
