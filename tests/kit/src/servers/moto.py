# Moto, with one request at a time: its own server lets conditional writes that come together all succeed.
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

services = DomainDispatcherApplication(create_backend_app)
one = threading.Lock()


def serve(environ, start_response):
    with one:
        return list(services(environ, start_response))


run_simple("127.0.0.1", int(sys.argv[1]), serve, threaded=True)
