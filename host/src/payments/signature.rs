//! Is it Stripe that tells? <https://docs.stripe.com/webhooks#verify-manually>

use super::{Told, wire::Envelope};
use crate::{seal, timestamp::Timestamp};
use stripe_webhook::{Webhook, WebhookError};

/// Why something told is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// There is no signature, or none of ours.
    Signature,
    /// It was signed more than five minutes before, or after, now.
    Time,
}

/// What is told, when one of these secrets signed it. One that is authentic and cannot be
/// read is told all the same, under a name made of it: it is kept, for an operator.
pub fn told(
    payload: &str,
    header: &str,
    secrets: &[String],
    now: Timestamp,
) -> Result<Told, Rejected> {
    let mut rejected = Rejected::Signature;
    for secret in secrets {
        match Webhook::construct_event_with_timestamp(payload, header, secret, now.as_secs()) {
            // What it cannot read has passed both checks.
            Ok(_) | Err(WebhookError::BadParse(_)) => return Ok(read(payload, now)),
            Err(WebhookError::BadTimestamp(_)) => rejected = Rejected::Time,
            Err(_) => {}
        }
    }
    Err(rejected)
}

fn read(payload: &str, now: Timestamp) -> Told {
    let payload = payload.to_owned();
    match serde_json::from_str::<Envelope>(&payload) {
        Ok(envelope) => {
            let at = envelope.created().unwrap_or(now);
            Told { id: envelope.id, kind: envelope.kind, payload, at }
        }
        Err(_) => {
            let id = format!("odd_{}", seal::hex(&seal::digest(&payload)));
            Told { id, kind: "unreadable".to_owned(), payload, at: now }
        }
    }
}
