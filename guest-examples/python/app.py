"""An agent in Python: it says back what it hears and counts it.

The counting shows what state is for: a global would be lost with the instance,
while what `state.set` stored is kept when the event succeeds and taken back when
it fails. The modules under `wit_world` are made from the contract by the build.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log, session, state
from wit_world.imports.log import Level
from wit_world.imports.types import EndReason, Failure_Retry, Message


class Handler(exports.Handler):
    def on_session_started(self) -> None:
        log.write(Level.INFO, "session started", [("session", session.id())])

    def on_message(self, message: Message) -> None:
        session.send_typing()
        count = int(state.get("count") or b"0") + 1
        state.set("count", str(count).encode())
        if message.content == "fail":
            raise Err(Failure_Retry("asked to"))
        session.reply(f"py: {message.content}")

    def on_session_ended(self, reason: EndReason) -> None:
        count = int(state.get("count") or b"0")
        log.write(Level.INFO, "session ended", [("reason", reason.name.lower()), ("messages", str(count))])
