//! The smallest agent: it says back what it hears.

wit_bindgen::generate!({ world: "agent", path: "../../wit" });

use aiybiz::agent::{
    session,
    types::{EndReason, Failure, Message},
};
use exports::aiybiz::agent::handler::Guest;

struct Echo;

impl Guest for Echo {
    fn on_session_started() -> Result<(), Failure> {
        Ok(())
    }

    fn on_message(message: Message) -> Result<(), Failure> {
        session::reply(&format!("echo: {}", message.content))
            .map(drop)
            // Asking for the event again is safe: the platform stores a reply once.
            .map_err(|error| Failure::Retry(error.to_string()))
    }

    fn on_session_ended(_: EndReason) -> Result<(), Failure> {
        Ok(())
    }
}

export!(Echo);
