//! A wire that can be cut: between the platform and its database.

use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Passes on what comes in on its port, to another port of this machine.
pub struct Relay {
    pub address: SocketAddr,
    to: SocketAddr,
    /// Every connection ends with it.
    up: watch::Sender<bool>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    pub fn to(to: SocketAddr) -> Self {
        let mut relay = Self {
            address: ([127, 0, 0, 1], 0).into(),
            to,
            up: watch::channel(false).0,
            accepting: None,
        };
        relay.mend();
        relay
    }

    /// Lets nothing through: connections end, new ones are refused.
    pub async fn cut(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
        self.up.send_replace(false);
    }

    /// Lets everything through again, on the same port.
    pub fn mend(&mut self) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("a socket");
        socket.bind(self.address).expect("a free port");
        let listener = socket.listen(1_024).expect("a free port");
        self.address = listener.local_addr().expect("an address");
        self.up.send_replace(true);
        let (to, up) = (self.to, self.up.subscribe());
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let mut up = up.clone();
                tokio::spawn(async move {
                    let Ok(mut to) = TcpStream::connect(to).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut from, &mut to) => {}
                        _ = up.wait_for(|up| !up) => {}
                    }
                });
            }
        }));
    }
}
