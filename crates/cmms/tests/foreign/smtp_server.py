"""aiosmtpd on a free port of this machine: mail as another program understands it.

Arguments: certificate and key (PEM), password of the user `trimloop`. Takes nothing before STARTTLS
and login. Prints one line of JSON when it listens, {"port": ..}, then one for each message that it
took: {"from", "to", "tls", "user", "headers", "text"}. Ends with its standard input.

Recipients: `nobody@` is refused for good, `later@` the first time, whoever else is taken.
"""

import asyncio
import json
import ssl
import sys
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP, AuthResult

CERTIFICATE, KEY, PASSWORD = sys.argv[1:4]


class Handler:
    def __init__(self):
        self.seen = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later@") and address not in self.seen:
            self.seen.add(address)
            return "451 4.7.1 greylisted, try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = message_from_bytes(envelope.content, policy=policy.default)
        if "refuse this" in message.get_content():
            return "554 5.7.1 looks like spam"
        line = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None,
            "user": session.auth_data.login.decode() if session.auth_data else None,
            "headers": {name.lower(): str(value) for name, value in message.items()},
            "text": message.get_content(),
        }
        print(json.dumps(line), flush=True)
        return "250 OK"


def login(server, session, envelope, mechanism, data):
    good = data.login == b"trimloop" and data.password == PASSWORD.encode()
    # Not handled: the server answers for us.
    return AuthResult(success=good, handled=False, auth_data=data)


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    handler = Handler()

    def session():
        return SMTP(
            handler,
            hostname="mail.test",
            tls_context=context,
            require_starttls=True,
            authenticator=login,
            auth_required=True,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
