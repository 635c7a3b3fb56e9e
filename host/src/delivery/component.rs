//! Delivery into the sandbox.

use super::{Delivery, Failure, Parcel, Report, Verdict, What};
use crate::sandbox::{
    Component, Ended, Event, Facts, Full, Job, Keep, Limits, Outcome, Receipt, Sandbox,
};
use async_trait::async_trait;
use std::sync::Arc;

pub struct ToComponent {
    pub sandbox: Arc<Sandbox>,
    pub component: Arc<Component>,
    /// As they are when the event begins; it ends under them.
    pub limits: Arc<Limits>,
    pub keep: Option<Keep>,
}

#[async_trait]
impl Delivery for ToComponent {
    async fn deliver(&self, parcel: Parcel) -> Report {
        let job = Job {
            event: match parcel.what {
                What::Started => Event::Started,
                What::Message(message) => Event::Message(message),
                What::Ended(reason) => Event::Ended(ended(&reason)),
            },
            facts: Facts {
                session_id: parcel.session.to_string(),
                started_at: parcel.session_started,
                event_id: parcel.event.to_string(),
                attempt: parcel.attempt,
            },
            scope: parcel.scope,
            limits: Arc::clone(&self.limits),
            keep: self.keep,
        };
        match self.sandbox.handle(parcel.agent, Arc::clone(&self.component), job).await {
            Ok(receipt) => {
                let verdict = verdict(&receipt);
                Report { receipt: Some(receipt), ..verdict.into() }
            }
            Err(Full) => Verdict::Busy.into(),
        }
    }
}

fn verdict(receipt: &Receipt) -> Verdict {
    let failure =
        |reason: &str| Failure { code: receipt.outcome.as_str(), reason: reason.to_owned() };
    match receipt.outcome {
        Outcome::Ok => Verdict::Delivered,
        Outcome::Retry => Verdict::Later(failure("the agent could not answer now")),
        Outcome::HostError => Verdict::Later(failure("the platform could not run the agent")),
        Outcome::Refused => Verdict::Never(failure("the agent cannot answer this message")),
        Outcome::Trap => Verdict::Never(failure("the agent crashed")),
        Outcome::Cpu | Outcome::Wall => Verdict::Never(failure("the agent took too long")),
        Outcome::Memory => Verdict::Never(failure("the agent ran out of memory")),
        Outcome::Budget => Verdict::Never(failure("the agent used up one of its limits")),
    }
}

fn ended(reason: &str) -> Ended {
    match reason {
        "client" => Ended::Closed,
        "low_balance" | "stale" | "provisioning_timeout" | "plan_lapsed" => Ended::Expired,
        _ => Ended::Terminated,
    }
}
