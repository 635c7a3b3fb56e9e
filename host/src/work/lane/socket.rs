//! Which way a message goes when its agent may have a socket: through it when there is
//! one, by webhook when there is none, and to the process that has it when that is
//! another one. Never two ways at once.

use super::{Driver, Next};
use crate::{
    bus::Signal,
    delivery::{Report, socket::ToSocket},
    error::Result,
    sessions::{
        self,
        lane::{Due, Ending, Target},
        sockets::SILENCE,
    },
    storage::Tx,
};

impl Driver {
    /// The session's socket, for what goes through sockets.
    pub(super) fn socket(&self, target: &Target, due: &Due) -> Option<ToSocket> {
        if !goes_through(target, due) {
            return None;
        }
        let line = self.host.sockets.of(self.session)?;
        Some(ToSocket { line, message: super::message(&due.entry) })
    }

    /// What is settled before anything is sent; none when there is something to send.
    pub(super) async fn settled(&self, target: &Target, due: &Due) -> Result<Option<Next>> {
        if target.status == "completed" && due.entry.kind != "session_ended" {
            return self.finish(due, Ending::Cancelled).await.map(Some);
        }
        if target.cancelled_event == Some(due.entry.id) {
            return self.break_off(target, due).await.map(Some);
        }
        if target.delivery != "webhook" {
            return Ok(None);
        }
        let connected = self.is_connected(target);
        let starts = due.entry.kind == "session_started";
        if connected && starts && due.failures > 0 && target.status == "active" {
            // Its webhook does not take the start, but the agent is there and ready:
            // messages need not wait for the next try.
            return self.finish(due, Ending::Cancelled).await.map(Some);
        }
        if connected && goes_through(target, due) && !self.is_here(target) {
            self.put_back(due, self.host.clock.now()).await?;
            // The one that has it looks at once.
            self.host.bus.announce(self.session, Signal::News);
            return Ok(Some(Next::Stop));
        }
        Ok(None)
    }

    /// The next try is due at once: this one broke off at a socket and another one is
    /// there already; or the agent has connected while its webhook refused its start.
    pub(super) async fn at_once(&self, tx: &mut Tx, due: &Due, report: &Report) -> Result<bool> {
        if self.host.sockets.of(self.session).is_none() {
            return Ok(false);
        }
        if due.entry.kind != "session_started" {
            return Ok(report.socket_broke());
        }
        let session = sessions::find(tx, self.session).await?;
        Ok(session.is_some_and(|session| session.status == "active"))
    }

    fn is_connected(&self, target: &Target) -> bool {
        let since = self.host.clock.now() - SILENCE;
        target.socket_heard_at.is_some_and(|heard| heard >= since)
    }

    fn is_here(&self, target: &Target) -> bool {
        target.socket_node.as_deref() == Some(&self.host.node.0)
    }
}

/// Starts and ends are for the webhook: the published SDK would take them for messages.
fn goes_through(target: &Target, due: &Due) -> bool {
    target.delivery == "webhook" && due.entry.kind == "message"
}
