"""django-oauth-toolkit: refresh tokens are rotated, and the reuse of one ends its family.

    POST /token    the toolkit's own
    POST /seed     a first refresh token, for a user that would have logged in with a browser
    GET  /ledger   what it saw: {granted, refused, revoked}

    python app.py '{"TTL":60,"GRACE":10}'  ->  {"port":...} on stdout; ends when standard input does

TTL: of an access token, in seconds. GRACE: for so many seconds a refresh token that was used may come again; the
answer is then the same as before.
"""

import json
import os
import secrets
import sys
import threading
import uuid
from datetime import timedelta
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings

options = json.loads(sys.argv[1])
settings.configure(
    SECRET_KEY=secrets.token_urlsafe(),
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    MIDDLEWARE=[],
    # It has one thread, and so one connection to what is in memory.
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    OAUTH2_PROVIDER={
        "ACCESS_TOKEN_EXPIRE_SECONDS": options["TTL"],
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": options["GRACE"],
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
        "SCOPES": {"ws": "ws"},
    },
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402
from oauth2_provider.models import AccessToken, Application, RefreshToken  # noqa: E402
from oauth2_provider.views import TokenView  # noqa: E402

ledger = {"granted": 0, "refused": []}
view = TokenView.as_view()


def token(request):
    response = view(request)
    if response.status_code == 200:
        ledger["granted"] += 1
    else:
        ledger["refused"].append(json.loads(response.content)["error"])
    return response


token.csrf_exempt = True


def seed(request):
    user = User.objects.get()
    application = Application.objects.get(client_id=request.GET["client"])
    access = AccessToken.objects.create(
        user=user,
        application=application,
        token=secrets.token_urlsafe(),
        scope="ws",
        expires=timezone.now() + timedelta(seconds=options["TTL"]),
    )
    refresh = RefreshToken.objects.create(
        user=user,
        application=application,
        token=secrets.token_urlsafe(),
        access_token=access,
        token_family=uuid.uuid4(),
    )
    return JsonResponse({"refresh_token": refresh.token})


def seen(_request):
    families = RefreshToken.objects.values_list("token_family", flat=True).distinct()
    live = RefreshToken.objects.filter(revoked__isnull=True).values_list("token_family", flat=True).distinct()
    return JsonResponse({**ledger, "revoked": families.count() - live.count()})


urlpatterns = [path("token", token), path("seed", seed), path("ledger", seen)]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def ends_with_its_input():
    sys.stdin.read()
    os._exit(0)


call_command("migrate", verbosity=0)
Application.objects.create(
    client_id="basic",
    client_secret="the client: its secret+",
    hash_client_secret=False,
    client_type=Application.CLIENT_CONFIDENTIAL,
    authorization_grant_type=Application.GRANT_PASSWORD,
    user=User.objects.create(username="alice"),
)
server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
threading.Thread(target=ends_with_its_input, daemon=True).start()
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
