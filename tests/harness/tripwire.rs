//! A wire between the platform and what it stands on that kills it at a step of its own
//! choosing: each thing that the platform says to its database or its bucket is one.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

/// Steps of one process, over all its wires.
#[derive(Clone, Default)]
pub struct Steps {
    taken: Arc<AtomicU64>,
    /// Zero: none.
    last: Arc<AtomicU64>,
    victim: Arc<AtomicU32>,
}

impl Steps {
    /// Counts from here on; the process dies before its step of this number.
    pub fn until(&self, last: u64, process: u32) {
        self.victim.store(process, SeqCst);
        self.taken.store(0, SeqCst);
        self.last.store(last, SeqCst);
    }

    pub fn taken(&self) -> u64 {
        self.taken.load(SeqCst)
    }

    /// Lets everything pass; says whether the process was killed.
    pub fn rest(&self) -> bool {
        let last = self.last.swap(0, SeqCst);
        last != 0 && self.taken() >= last
    }

    /// False when the process was killed instead.
    fn take(&self) -> bool {
        let (taken, last) = (self.taken.fetch_add(1, SeqCst) + 1, self.last.load(SeqCst));
        if last == 0 || taken < last {
            return true;
        }
        let victim = self.victim.load(SeqCst).to_string();
        let _ = Command::new("kill").args(["-KILL", &victim]).status();
        false
    }

    /// A port that leads to another; serves while the runtime of its test lives.
    pub async fn wire(&self, to: SocketAddr, database: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let steps = self.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(steps.clone().pass(from, to, database));
            }
        });
        address
    }

    async fn pass(self, from: TcpStream, to: SocketAddr, database: bool) {
        let Ok(to) = TcpStream::connect(to).await else { return };
        let (mut asks, mut hears) = from.into_split();
        let (mut answers, mut told) = to.into_split();
        let asking = async {
            let mut said = vec![0; 64 << 10];
            while let Ok(bytes @ 1..) = asks.read(&mut said).await {
                let said = &said[..bytes];
                if goes_on(said, database) {
                    let _ = told.write_all(said).await;
                } else if !self.take() || told.write_all(said).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = asking => {}
            _ = copy(&mut answers, &mut hears) => {}
        }
    }
}

/// Is it more of what was begun? To a bucket, a step is a request.
fn goes_on(said: &[u8], database: bool) -> bool {
    let requests: [&[u8]; 5] = [b"PUT /", b"POST /", b"GET /", b"HEAD /", b"DELETE /"];
    !database && !requests.iter().any(|request| said.starts_with(request))
}
