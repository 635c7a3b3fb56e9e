//! Servers that misbehave, on real sockets; and a name server that changes its mind.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

/// Takes connections and does with each what the test says.
pub struct Receiver {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
}

impl Receiver {
    pub async fn that<F: Future<Output = ()> + Send + 'static>(
        at: &str,
        does: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(at).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(does(stream));
            }
        });
        Self { address, connections }
    }

    /// Reads the request and then sends this, and nothing more.
    pub async fn saying(answer: Vec<u8>) -> Self {
        let answer = Arc::new(answer);
        Self::that("127.0.0.1:0", move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                request(&mut stream).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.flush().await;
                let _ = stream.shutdown().await;
                // Until the other side has gone too: what it was sent must arrive.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        })
        .await
    }

    pub fn count(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Reads a request to its end.
pub async fn request(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if count == 0 {
                return text;
            }
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if count == 0 || body.len() >= length.and_then(|text| text.parse().ok()).unwrap_or(0) {
            return text;
        }
    }
}

/// A name server: says what the test wants for the n-th question about a name.
pub struct NameServer {
    pub address: SocketAddr,
}

/// An answer to a question.
pub enum Record {
    Address(IpAddr),
    /// This other name, which leads there.
    Alias(&'static str, IpAddr),
}

impl NameServer {
    pub async fn that(
        answers: impl Fn(&str, usize) -> Vec<Record> + Send + Sync + 'static,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("an address");
        tokio::spawn(async move {
            // A look-up asks twice: for addresses of both kinds.
            let mut asked = std::collections::HashMap::<(String, u16), usize>::new();
            let mut packet = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let question = &packet[..length];
                let (name, kind, end) = parse(question);
                let count = asked.entry((name.clone(), kind)).or_default();
                let records = answers(&name, *count);
                *count += 1;
                let answer = answer(question, end, kind, &records);
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Self { address }
    }
}

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// The name that is asked for, of which kind, and where the question ends.
fn parse(packet: &[u8]) -> (String, u16, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while packet[at] != 0 {
        let length = usize::from(packet[at]);
        labels.push(String::from_utf8_lossy(&packet[at + 1..at + 1 + length]).to_lowercase());
        at += 1 + length;
    }
    (labels.join("."), u16::from_be_bytes([packet[at + 1], packet[at + 2]]), at + 5)
}

/// The question again, and what answers it, good for no time at all.
fn answer(question: &[u8], end: usize, kind: u16, records: &[Record]) -> Vec<u8> {
    let (mut count, mut body) = (0_u16, Vec::new());
    let mut put = |name: &[u8], kind: u16, data: &[u8]| {
        count += 1;
        body.extend_from_slice(name);
        body.extend_from_slice(&kind.to_be_bytes());
        body.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
        body.extend_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
        body.extend_from_slice(data);
    };
    // The name in the question.
    let asked = [0xc0, 12];
    for record in records {
        let (name, address) = match record {
            Record::Address(address) => (asked.to_vec(), address),
            Record::Alias(alias, address) => {
                let alias = labels(alias);
                put(&asked, CNAME, &alias);
                (alias, address)
            }
        };
        match address {
            IpAddr::V4(address) if kind == A => put(&name, A, &address.octets()),
            IpAddr::V6(address) if kind == AAAA => put(&name, AAAA, &address.octets()),
            _ => {}
        }
    }
    let mut packet = question[..end].to_vec();
    packet[2..4].copy_from_slice(&[0x84, 0]);
    packet[6..8].copy_from_slice(&count.to_be_bytes());
    packet[8..12].fill(0);
    packet.extend_from_slice(&body);
    packet
}

fn labels(name: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for label in name.split('.') {
        all.push(u8::try_from(label.len()).expect("short"));
        all.extend_from_slice(label.as_bytes());
    }
    all.push(0);
    all
}
