//! One who listens to a session's event stream.

use super::Value;
use std::time::Duration;

/// Long for a machine with two busy cores, short for a person who waits.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Events {
    response: Option<reqwest::Response>,
    buffer: Vec<u8>,
    /// Everything that was heard, in order.
    pub heard: Vec<Heard>,
    /// How the agent was said to be.
    pub presences: Vec<Value>,
    pub status: u16,
}

#[derive(Clone, Debug)]
pub struct Heard {
    /// The number of an entry of a session's log.
    pub id: Option<i64>,
    /// What to resume after, as it was sent.
    pub place: Option<String>,
    pub kind: String,
    pub data: Value,
}

impl Events {
    pub fn of(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        Self {
            response: Some(response),
            buffer: Vec::new(),
            heard: Vec::new(),
            presences: Vec::new(),
            status,
        }
    }

    /// The next event, whether or not the agent can be reached (which is told apart, at
    /// its own time); none when the stream ends.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            let heard = self.any().await;
            if heard.as_ref().is_none_or(|heard| heard.kind != "presence") {
                return heard;
            }
        }
    }

    async fn any(&mut self) -> Option<Heard> {
        let next = tokio::time::timeout(PATIENCE, self.read()).await;
        next.unwrap_or_else(|_| panic!("nothing was heard for {PATIENCE:?} after {:?}", self.heard))
    }

    async fn read(&mut self) -> Option<Heard> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let block = String::from_utf8(block).expect("UTF-8");
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    let heard = Heard {
                        id: field("id: ").and_then(|id| id.parse().ok()),
                        place: field("id: ").map(str::to_owned),
                        kind: field("event: ").expect("a kind").to_owned(),
                        data: serde_json::from_str(data).expect("JSON"),
                    };
                    // Told at its own time, apart from what is said.
                    if heard.kind == "presence" {
                        self.presences.push(heard.data.clone());
                    } else {
                        self.heard.push(heard.clone());
                    }
                    return Some(heard);
                }
            }
            // A broken connection ends the stream like a clean end.
            let chunk = self.response.as_mut()?.chunk().await.ok().flatten()?;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// Waits for an event of this type.
    pub async fn until(&mut self, kind: &str) -> Value {
        loop {
            let Some(heard) = self.next().await else {
                panic!("the stream ended before {kind}; heard {:?}", self.heard)
            };
            if heard.kind == kind {
                return heard.data;
            }
        }
    }

    /// Waits until the agent is said to be so.
    pub async fn presence(&mut self, wanted: &str) {
        loop {
            let Some(heard) = self.any().await else { panic!("the stream ended") };
            if heard.kind == "presence" && heard.data["status"] == wanted {
                return;
            }
        }
    }

    /// Waits for the agent's next message and returns what it says.
    pub async fn reply(&mut self) -> String {
        loop {
            let message = self.until("message").await;
            if message["role"] == "agent" {
                return message["content"].as_str().expect("a text").to_owned();
            }
        }
    }

    /// Listens to the end of the stream.
    pub async fn rest(&mut self) -> &[Heard] {
        while self.next().await.is_some() {}
        &self.heard
    }

    /// The number of the last entry that was heard.
    pub fn last_id(&self) -> i64 {
        self.heard.iter().filter_map(|heard| heard.id).next_back().unwrap_or(0)
    }

    /// Checks that the numbers go up by one.
    #[track_caller]
    pub fn without_gap(&self) {
        let ids: Vec<_> = self.heard.iter().filter_map(|heard| heard.id).collect();
        for pair in ids.windows(2) {
            assert_eq!(pair[0] + 1, pair[1], "{ids:?}");
        }
    }
}
