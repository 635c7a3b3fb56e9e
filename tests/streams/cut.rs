//! A stream that breaks off at any byte is resumed without gap or repetition, by a
//! client that reads it as the HTML standard says and no other way.

use super::talk;
use crate::{
    both_engines,
    harness::{Engine, Person, Platform, Value},
};
use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Cuts tried at the same time.
const AT_ONCE: usize = 16;

/// An event as it is dispatched: its type, the id under which to resume, its data.
type Event = (String, String, Value);

both_engines! {
    async fn cut_at_any_byte_it_is_resumed(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let session = voice.session.as_str();
        let mut events = client.listens(session, Some(0)).await;
        client.says(session, "Grüße an 🦉").await;
        // Nobody takes it; then the log is as it will stay.
        events.until("message_failed").await;
        // Enough that the number of an entry has two digits.
        for n in 0..8 {
            voice.says(&format!("{n}: näher,\r\n☕ bitte")).await;
        }
        client.ends(session).await;
        events.rest().await;
        let of_log = events.heard.iter().filter_map(|heard| {
            Some((heard.kind.clone(), heard.id?.to_string(), lasting(heard.data.clone())))
        });
        let of_log: Vec<Event> = of_log.collect();
        assert_eq!(of_log.len(), 13);

        let whole = read(&client, session, "0", usize::MAX).await;
        assert_eq!(dispatched(&whole, &mut "0".to_owned()), of_log);
        let cuts = stream::iter(0..=whole.len()).map(async |at| {
            let mut last_id = "0".to_owned();
            let first = read(&client, session, &last_id, at).await;
            let mut seen = dispatched(&first, &mut last_id);
            let second = read(&client, session, &last_id, usize::MAX).await;
            seen.extend(dispatched(&second, &mut last_id));
            (at, seen)
        });
        let mut cuts = cuts.buffer_unordered(AT_ONCE);
        while let Some((at, seen)) = cuts.next().await {
            assert_eq!(seen, of_log, "cut after {at} bytes of {}", whole.len());
        }
        let path = format!("/sessions/{session}/messages?limit=200");
        let listed = client.get(&path).await.ok();
        let listed = listed["data"].as_array().expect("a list").iter().rev().cloned().map(lasting);
        let messages = of_log.into_iter().filter(|event| event.0 == "message");
        assert_eq!(messages.map(|event| event.2).collect::<Vec<_>>(), listed.collect::<Vec<_>>());
    }
}

both_engines! {
    /// Neither one that began live nor one that asked for a place that is not there has
    /// seen an event when it breaks off.
    async fn cut_before_its_first_event_it_is_resumed(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let session = voice.session.as_str();
        let mut places = [String::new(), "99".to_owned()];
        for last_id in &mut places {
            let mut stream = ask(&client, session, last_id).await;
            let mut got = Vec::new();
            while last_id != "2" {
                assert!(stream.read_buf(&mut got).await.expect("it sends") > 0, "it ended");
                dispatched(&got, last_id);
            }
        }
        voice.says("while they were away").await;
        client.ends(session).await;
        for last_id in &mut places {
            let rest = read(&client, session, last_id, usize::MAX).await;
            let seen = dispatched(&rest, last_id);
            let seen: Vec<_> = seen.iter().map(|(kind, id, _)| (kind.as_str(), id.as_str())).collect();
            assert_eq!(seen, [("message", "3"), ("session_ended", "4")]);
        }
        // And one whose place is unknown does not ask for it for ever.
        let mut last_id = "99".to_owned();
        let answer = read(&client, session, &last_id, usize::MAX).await;
        dispatched(&answer, &mut last_id);
        let answer = read(&client, session, &last_id, usize::MAX).await;
        assert!(answer.starts_with(b"HTTP/1.0 204 "), "{}", String::from_utf8_lossy(&answer));
    }
}

/// An entry without what changes while it is in the log.
fn lasting(mut entry: Value) -> Value {
    entry.as_object_mut().expect("an object").remove("status");
    entry
}

/// So many bytes of the answer, at most; then the connection is closed.
async fn read(client: &Person, session: &str, last_id: &str, most: usize) -> Vec<u8> {
    let socket = ask(client, session, last_id).await;
    let mut got = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    socket.take(most).read_to_end(&mut got).await.expect("it sends");
    got
}

async fn ask(client: &Person, session: &str, last_id: &str) -> TcpStream {
    let address = client.url.strip_prefix("http://").expect("an address");
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    let place = match last_id {
        "" => String::new(),
        last_id => format!("last-event-id: {last_id}\r\n"),
    };
    // HTTP/1.0 has no chunks: what follows the head is the stream.
    let request = format!(
        "GET /sessions/{session}/stream HTTP/1.0\r\nhost: {address}\r\n\
         authorization: Bearer {}\r\n{place}\r\n",
        client.token
    );
    socket.write_all(request.as_bytes()).await.expect("it takes the request");
    socket
}

/// The events of an answer that may have broken off anywhere. `last_id` is the last
/// event id, which is only what an event that was dispatched has said.
fn dispatched(answer: &[u8], last_id: &mut String) -> Vec<Event> {
    let mut events = Vec::new();
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return events };
    let mut body = &answer[head + 4..];
    let (mut id, mut kind, mut data) = (last_id.clone(), String::new(), String::new());
    // A line that does not end is no line.
    while let Some(end) = body.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let line = std::str::from_utf8(&body[..end]).expect("UTF-8");
        body = body[end..].strip_prefix(b"\r\n").unwrap_or(&body[end + 1..]);
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                last_id.clone_from(&id);
                if let Some(data) = data.strip_suffix('\n') {
                    let data: Value = serde_json::from_str(data).expect("JSON");
                    // What is in no log may come, or not, on any stream.
                    if data["seq"].is_number() {
                        events.push((kind.clone(), id.clone(), lasting(data)));
                    }
                }
                kind.clear();
                data.clear();
            }
            "event" => kind = value.to_owned(),
            "data" => data.extend([value, "\n"]),
            "id" if !value.contains('\0') => id = value.to_owned(),
            // A comment, or for clients that come back by themselves.
            _ => {}
        }
    }
    events
}
