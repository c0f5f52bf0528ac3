"""Configuration of a stock jupyter_server, but for its tokens: `good-<milliseconds>` is good until that time.

They are judged at each request and each WebSocket handshake, and never on a connection that stands. That, and that a
second connection of a session throws the first one out, is jupyter_server's own doing.
"""

import time

from jupyter_server.auth import IdentityProvider, User


class Tokens(IdentityProvider):
    def get_user(self, handler):
        token = handler.get_argument("token", "")
        try:
            word, end = token.split("-")
            good = word == "good" and time.time() * 1000 < int(end)
        except ValueError:
            good = False
        return User(username="somebody") if good else None

    def is_token_authenticated(self, handler):
        return True

    def should_check_origin(self, handler):
        return False


c = get_config()  # noqa: F821
c.ServerApp.identity_provider_class = Tokens
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.allow_root = True
c.ServerApp.disable_check_xsrf = True
