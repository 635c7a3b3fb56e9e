//! Money: who has how much, who owes what to whom, and why.

pub mod charges;
pub mod check;
pub mod closing;
pub mod disputes;
pub mod earnings;
pub mod events;
pub mod invoices;
pub mod ledger;
mod lots;
mod notices;
mod outbox;
pub mod payees;
pub mod plans;
pub mod reconcile;
pub mod refunds;
pub mod subscriptions;
pub mod topups;
pub mod transfers;
pub mod wallet;

pub use outbox::Step;
