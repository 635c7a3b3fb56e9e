"""Asks the PyPI libraries whether they take deliveries for ours.

Reads and says what verify.mjs does.
"""

import datetime
import json
import sys

import standardwebhooks
import standardwebhooks.webhooks
import svix.webhooks


class Told(datetime.datetime):
    """The libraries ask the machine what time it is; here it says what it is told."""

    second_told = 0

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(cls.second_told, tz)


# svix asks standardwebhooks.
standardwebhooks.webhooks.datetime = Told


def verdict(library, delivery):
    Told.second_told = delivery["now"]
    try:
        library.Webhook(delivery["secret"]).verify(delivery["body"], delivery["headers"])
        return "accepted"
    # Anything else is a library that broke, which is no verdict.
    except library.WebhookVerificationError as refused:
        return str(refused)


deliveries = json.load(sys.stdin)
libraries = {"PyPI standardwebhooks": standardwebhooks, "PyPI svix": svix.webhooks}
verdicts = {name: [verdict(library, one) for one in deliveries] for name, library in libraries.items()}
print(json.dumps(verdicts))
