"""A mail server that is not ours (aiosmtpd), which prints every mail as a line of JSON.

Addresses that begin so are refused: `never-` for good, `later-` the first time.
`listening PORT` is its first line.
"""

import asyncio
import email
import email.policy
import json
import sys

from aiosmtpd.smtp import SMTP

refused = set()


class Postman:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("never-"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later-") and address not in refused:
            refused.add(address)
            return "451 4.7.1 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": [[name, str(value)] for name, value in mail.items()],
            "subject": str(mail["subject"]),
            "text": mail.get_content(),
        }), flush=True)
        return "250 OK"


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Postman(), enable_SMTPUTF8=True), "127.0.0.1", 0)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    # Ends with whoever started it.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
