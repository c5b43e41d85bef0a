"""The addresses of logins: launches of EHRs, standalone ones, and the way back."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from api.context import AppContext
from api.smart.callback import Callback
from api.smart.launch import CALLBACK, Launching
from api.smart.login_pages import LoginEndpoint


def login_routes(context: AppContext) -> list[BaseRoute]:
    """The addresses of one server that knows who comes in."""
    launching, callback = Launching(context), Callback(context)
    table = (
        ("/launch", launching.launch, ["GET"]),
        ("/launch/standalone", launching.standalone, ["GET"]),
        (CALLBACK, callback.back, ["GET", "POST"]),
    )
    return [Route(path, LoginEndpoint(context, path, handle), methods=methods) for path, handle, methods in table]
