"""django-helpdesk as it comes, on a free port of this machine, with its data in one folder.

Prints one line of JSON when it listens: {"port": .., "queue": ..}. Ends with its standard input.
Users: `trimloop` and `person`, both staff, with the passwords that the arguments name.
"""

import json
import os
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

FOLDER, OURS, PERSONS = sys.argv[1:4]

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a test",
    DEBUG=False,
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="helpdesk_urls",
    SITE_ID=1,
    USE_TZ=True,
    TIME_ZONE="UTC",
    STATIC_URL="/static/",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(FOLDER, "helpdesk.sqlite3"),
            # The server answers in one thread, the data are thrown away.
            "OPTIONS": {"init_command": "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY;"},
        }
    },
    EMAIL_BACKEND="django.core.mail.backends.dummy.EmailBackend",
    # Many rounds of hashing protect passwords that are none here.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.sites",
        "django.contrib.humanize",
        "rest_framework",
        "helpdesk",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                    "django.template.context_processors.request",
                ]
            },
        }
    ],
    HELPDESK_ACTIVATE_API_ENDPOINT=True,
    HELPDESK_TEAMS_MODE_ENABLED=False,
)
django.setup()

import types

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

urls = types.ModuleType("helpdesk_urls")
urls.urlpatterns = [path("", include("helpdesk.urls", namespace="helpdesk"))]
sys.modules["helpdesk_urls"] = urls

call_command("migrate", verbosity=0, run_syncdb=True)

from helpdesk.models import Queue, Ticket

for name, password in (("trimloop", OURS), ("person", PERSONS)):
    user = get_user_model().objects.create_user(name, f"{name}@plant.example", password)
    user.is_staff = user.is_superuser = True
    user.save()
queue = Queue.objects.create(title="Presses", slug="presses")
# Tickets of other people: more than fit on one page of a list.
Ticket.objects.bulk_create(
    Ticket(queue=queue, title=f"Lamp {n}", description="It is dark.") for n in range(101)
)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
print(json.dumps({"port": server.server_port, "queue": queue.id}), flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.serve_forever()
