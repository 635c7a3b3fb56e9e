//! Large files, piece by piece: a line that drops costs nothing that was stored.

use super::{content, folder, names, text, upload, used};
use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform,
        bucket::Bucket,
        json,
        people::{Answer, Id, send},
        tus::{self, Upload, number},
    },
};
use aiybiz_host::{files::usage::Quota, work};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Method;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn letters(count: usize) -> String {
    ('a'..='z').cycle().take(count).collect()
}

/// A line of its own, on which a piece has begun, and the rest of it never comes.
async fn begun(upload: &Upload, offset: usize, said: usize, bytes: &[u8]) -> TcpStream {
    let address = upload.who.url.strip_prefix("http://").expect("an address");
    let mut line = TcpStream::connect(address).await.expect("a line");
    let head = format!(
        "PATCH {} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
         tus-resumable: 1.0.0\r\nupload-offset: {offset}\r\ncontent-length: {said}\r\n\
         content-type: application/offset+octet-stream\r\n\r\n",
        upload.path, upload.who.token
    );
    line.write_all(head.as_bytes()).await.expect("it is sent");
    line.write_all(bytes).await.expect("it is sent");
    line.flush().await.expect("it is sent");
    line
}

/// Asks until the server has so much.
async fn until(upload: &Upload, offset: usize) {
    let begun = Instant::now();
    while upload.offset().await != offset {
        assert!(begun.elapsed() < Duration::from_secs(20), "it has {}", upload.offset().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The same on every kind of store.
pub async fn goes_on(platform: &Platform) {
    let cleo = platform.person("Cleo").await;
    let reports = folder(&cleo, None, "Reports").await;
    let all = letters(12_000_000);
    let told = [
        ("filename", "Jülÿ.txt"),
        ("filetype", "text/plain"),
        ("parentId", &*reports),
        ("mine", "x"),
    ];
    let created = tus::create(&cleo, all.len(), &told).await;
    assert_eq!(created.headers["tus-resumable"], "1.0.0");
    assert_eq!(number(&created, "upload-offset"), 0);
    let upload = Upload::of(&cleo, &created);
    assert_eq!(used(&cleo).await, 12_000_000, "there is room for all of it");
    // In pieces of every size: of some a bucket makes parts, of others it does not.
    let mut offset = 0;
    for size in [1, 1_000_000, 5_242_880, 0, 7, 1_000_000] {
        let sent = upload.patch(offset, all[offset..offset + size].to_owned()).await.having(204);
        offset += size;
        assert_eq!(number(&sent, "upload-offset"), offset);
        assert!(sent.headers.contains_key("upload-expires"));
        let head = upload.head().await;
        assert_eq!(
            (number(&head, "upload-offset"), number(&head, "upload-length")),
            (offset, all.len())
        );
        assert_eq!(head.headers["upload-metadata"].to_str().ok(), Some(&*tus::metadata(&told)));
    }
    // A line that drops; what it brought is kept.
    drop(begun(&upload, offset, 4_000_000, &all.as_bytes()[offset..offset + 2_000_000]).await);
    until(&upload, offset + 2_000_000).await;
    offset += 2_000_000;
    // One that neither drops nor goes on: whoever asks takes its place.
    let mut silent =
        begun(&upload, offset, 2_000_000, &all.as_bytes()[offset..offset + 500_000]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(upload.offset().await, offset + 500_000);
    let mut answer = [0; 12];
    silent.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 423");
    offset += 500_000;
    // Nobody knows of it before it is complete.
    assert_eq!(names(&cleo, &format!("?parentId={reports}")).await, [""; 0]);
    cleo.get(&format!("/files/{}/download-url", upload.id()))
        .await
        .problem(409, "upload_unfinished");
    let said = json!({ "fileSize": all.len(), "mimeType": "text/plain" });
    let path = format!("/files/{}/complete-upload", upload.id());
    cleo.post(&path, said.clone()).await.problem(409, "upload_unfinished");
    let last = upload.patch(offset, all[offset..].to_owned()).await.having(204);
    assert_eq!(number(&last, "upload-offset"), all.len());
    assert!(!last.headers.contains_key("upload-expires"));
    assert_eq!(names(&cleo, &format!("?parentId={reports}")).await, ["Jülÿ.txt"]);
    assert!(content(&cleo, upload.id()).await == all);
    let node = cleo.get(&format!("/files/{}", upload.id())).await.ok();
    assert_eq!((&node["fileSize"], &node["mimeType"]), (&json!(all.len()), &json!("text/plain")));
    assert_eq!(cleo.post(&path, said).await.ok(), node, "completed already");
    // Whose last answer got lost sees that all is there; nothing can be added or taken.
    assert_eq!(upload.offset().await, all.len());
    upload.patch(all.len(), "more").await.problem(410, "upload_over");
    upload.delete().await.problem(410, "upload_over");
    assert_eq!(used(&cleo).await, 12_000_000);
    platform.clock.advance(Duration::from_hours(49));
    assert_eq!(platform.objects_of(&cleo).await, 1);
    assert!(content(&cleo, upload.id()).await == all);
}

/// Given up, or left alone: nothing of it stays.
async fn comes_to_nothing(platform: &Platform) {
    let cleo = platform.person("Cleo").await;
    let all = letters(7_000_000);
    for by_itself in [false, true] {
        let upload = Upload::begin(&cleo, "x", 20_000_000).await;
        upload.patch(0, all.clone()).await.with(204);
        upload.patch(all.len(), all.clone()).await.with(204);
        if by_itself {
            platform.clock.advance(Duration::from_hours(23));
            work::library::tidy(&platform.host).await.expect("it tidies up");
            assert_eq!(upload.offset().await, 14_000_000);
            platform.clock.advance(Duration::from_hours(2));
        } else {
            upload.delete().await.with(204);
        }
        assert_eq!(platform.objects_of(&cleo).await, 0);
        assert_eq!(upload.head().await.status, 404);
        upload.patch(14_000_000, "x").await.problem(404, "not_found");
        upload.delete().await.problem(404, "not_found");
        assert_eq!(used(&cleo).await, 0);
    }
    let mut tx = platform.host.db.look().await.expect("a look");
    let left: (i64,) = tx.query("SELECT COUNT(*) FROM multiparts").one().await.expect("a number");
    assert_eq!(left, (0,));
}

both_engines! {
    async fn it_goes_on_where_it_broke_off(engine: Engine) {
        goes_on(&Platform::start(engine).await).await;
    }

    async fn it_goes_on_into_a_bucket(engine: Engine) {
        let bucket = Bucket::start().await;
        goes_on(&bucket.platform(engine, false).await).await;
        assert_eq!(bucket.unfinished(), 0);
    }

    async fn what_is_given_up_leaves_nothing(engine: Engine) {
        comes_to_nothing(&Platform::start(engine).await).await;
        let bucket = Bucket::start().await;
        comes_to_nothing(&bucket.platform(engine, true).await).await;
        assert_eq!(bucket.unfinished(), 0);
    }

    async fn what_is_wrong_is_said(engine: Engine) {
        let quota = Quota { file: 1_000, company: 1_500, session: 1_500 };
        let platform = Platform::configured(engine, |config| config.quota = quota).await;
        let (cleo, carl) = (platform.person("Cleo").await, platform.person("Carl").await);
        let options = send(Person::nobody(&platform.url).request(Method::OPTIONS, "/files/tus")).await.having(204);
        for (name, value) in [
            ("tus-version", "1.0.0"),
            ("tus-extension", "creation,termination,expiration,checksum"),
            ("tus-checksum-algorithm", "sha1,sha256"),
            ("tus-max-size", "1000"),
        ] {
            assert_eq!(options.headers[name], value);
        }
        let old = cleo.request(Method::POST, "/files/tus").header("tus-resumable", "0.2.2");
        let old = send(old).await;
        assert_eq!(old.headers["tus-version"], "1.0.0");
        old.problem(412, "tus_version");
        send(cleo.request(Method::HEAD, "/files/tus/x")).await.with(412);
        let nobody = tus::create(&Person::nobody(&platform.url), 1, &[("filename", "x")]).await;
        nobody.problem(401, "unauthenticated");
        let post = || tus::request(&cleo, Method::POST, "/files/tus");
        let name = tus::metadata(&[("filename", "x")]);
        let wrong = async |length: &str, metadata: &str, field: &str| {
            let request = post().header("upload-length", length).header("upload-metadata", metadata);
            let told = send(request).await.problem(400, "invalid_field");
            assert_eq!(told["errors"][0]["pointer"], field, "{length} {metadata}: {told}");
        };
        for length in ["", "-1", "+1", "1.5", "x", "0x10", "99999999999999999999"] {
            wrong(length, &name, "Upload-Length").await;
        }
        for metadata in [
            "filename",
            "",
            &tus::metadata(&[("filename", "a/b")]),
            &tus::metadata(&[("filename", "gpj.\u{202e}exe")]),
        ] {
            wrong("1", metadata, "Upload-Metadata: filename").await;
        }
        for metadata in ["filename !!", "filename eA==,filename eA==", "filename gICA", &format!("filename eA==,x {}", "A".repeat(4_096))] {
            wrong("1", metadata, "Upload-Metadata").await;
        }
        let kind = tus::metadata(&[("filename", "x"), ("filetype", "nonsense")]);
        wrong("1", &kind, "Upload-Metadata: filetype").await;
        let deferred = post().header("upload-defer-length", "1").header("upload-metadata", &name);
        send(deferred).await.problem(400, "invalid_field");
        let parent = [("filename", "x"), ("parentId", "nonsense")];
        tus::create(&cleo, 1, &parent).await.problem(404, "not_found");
        let told = tus::create(&cleo, 1_001, &[("filename", "x")]).await.problem(413, "quota_exceeded");
        assert!(text(&told, "detail").contains("1001") && text(&told, "detail").contains("1000"), "{told}");
        assert_eq!(used(&cleo).await, 0);

        let one = Upload::begin(&cleo, "x", 1_000).await;
        tus::create(&cleo, 501, &[("filename", "y")]).await.problem(413, "quota_exceeded");
        // Nobody else's.
        let theirs = Upload { who: carl, path: one.path.clone() };
        assert_eq!(theirs.head().await.status, 404);
        theirs.patch(0, "evil").await.problem(404, "not_found");
        theirs.delete().await.problem(404, "not_found");
        let piece = tus::request(&cleo, Method::PATCH, &one.path).header("upload-offset", 0);
        send(piece.header("content-type", "text/plain").body("x")).await.problem(415, "not_a_piece");
        let told = one.patch(5, "x").await.problem(409, "wrong_offset");
        assert_eq!(told["errors"][0]["pointer"], "Upload-Offset", "{told}");
        for offset in ["", "-1", "x"] {
            let request = tus::request(&cleo, Method::PATCH, &one.path).header("upload-offset", offset);
            let request = request.header("content-type", "application/offset+octet-stream");
            send(request).await.problem(400, "invalid_field");
        }
        one.patch(0, letters(1_001)).await.problem(413, "beyond_length");
        let pieces = (0..11).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 100]));
        let endless = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
        one.patch(0, endless).await.problem(413, "beyond_length");
        assert_eq!(one.offset().await, 0);
        send(tus::request(&cleo, Method::POST, &one.path)).await.problem(400, "invalid_field");
        // For those behind something that knows only GET and POST.
        let piece = tus::request(&cleo, Method::POST, &one.path).header("upload-offset", 0);
        let piece = piece.header("content-type", "application/offset+octet-stream");
        let piece = piece.header("x-http-method-override", "PATCH").body(letters(600));
        assert_eq!(number(&send(piece).await.having(204), "upload-offset"), 600);
        let delete = tus::request(&cleo, Method::POST, &one.path);
        send(delete.header("x-http-method-override", "DELETE")).await.with(204);
        assert_eq!(platform.objects_of(&cleo).await, 0);
        assert_eq!(used(&cleo).await, 0);
        // Of nothing there is nothing to wait for.
        let empty = tus::create(&cleo, 0, &[("filename", "empty")]).await.having(201);
        assert_eq!(content(&cleo, Upload::of(&cleo, &empty).id()).await, "");
        assert_eq!(names(&cleo, "").await, ["empty"]);
    }

    async fn a_piece_that_was_damaged_on_its_way_is_not_kept(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let upload = Upload::begin(&cleo, "x", 10).await;
        let sent = async |offset: usize, bytes: &str, checksum: String| -> Answer {
            send(upload.piece(offset, bytes.to_owned()).header("upload-checksum", checksum)).await
        };
        let sha1 = |bytes: &str| format!("sha1 {}", BASE64_STANDARD.encode(Sha1::digest(bytes)));
        let sha256 = |bytes: &str| format!("sha256 {}", BASE64_STANDARD.encode(Sha256::digest(bytes)));
        for checksum in ["", "sha1", "sha1 !", "sha1 eA==", "md5 eA==", "crc32 eA=="] {
            let told = sent(0, "hello", checksum.into()).await.problem(400, "invalid_field");
            assert_eq!(told["errors"][0]["pointer"], "Upload-Checksum", "{checksum}");
        }
        sent(0, "hellO", sha1("hello")).await.problem(460, "checksum_mismatch");
        assert_eq!(upload.offset().await, 0);
        sent(0, "hello", sha1("hello")).await.with(204);
        sent(5, "World", sha256("world")).await.problem(460, "checksum_mismatch");
        // Whole or not at all: the line drops before its checksum could be told.
        let address = platform.url.strip_prefix("http://").expect("an address");
        let mut line = TcpStream::connect(address).await.expect("a line");
        let head = format!(
            "PATCH {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ntus-resumable: 1.0.0\r\n\
             upload-offset: 5\r\ncontent-length: 5\r\nupload-checksum: {}\r\n\
             content-type: application/offset+octet-stream\r\n\r\nwor",
            upload.path, cleo.token, sha256("world")
        );
        line.write_all(head.as_bytes()).await.expect("it is sent");
        drop(line);
        assert_eq!(upload.offset().await, 5);
        sent(5, "world", sha256("world")).await.with(204);
        assert_eq!(content(&cleo, upload.id()).await, "helloworld");
    }

    async fn what_happens_in_the_library_meanwhile(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        // Somebody else was quicker with the name.
        let slow = Upload::begin(&cleo, "Report.pdf", 4).await;
        upload(&cleo, None, "report.PDF", "hello").await;
        slow.patch(0, "late").await.with(204);
        let end = &slow.id()[slow.id().len() - 4..];
        assert_eq!(names(&cleo, "").await, [format!("Report ({end}).pdf"), "report.PDF".into()]);
        assert_eq!(content(&cleo, slow.id()).await, "late");
        // Its folder went into the trash, and so did it.
        let reports = folder(&cleo, None, "Reports").await;
        let told = [("filename", "in.txt"), ("parentId", &*reports)];
        let created = tus::create(&cleo, 4, &told).await;
        let inner = Upload::of(&cleo, &created);
        inner.patch(0, "he").await.with(204);
        cleo.delete(&format!("/files/{reports}")).await.with(204);
        inner.patch(2, "re").await.with(204);
        cleo.get(&format!("/files/{}", inner.id())).await.problem(404, "not_found");
        cleo.post(&format!("/files/{reports}/restore"), json!({})).await.ok();
        assert_eq!(content(&cleo, inner.id()).await, "here");
        // It is emptied while something is on its way.
        let created = tus::create(&cleo, 4, &[("filename", "2.txt"), ("parentId", &reports)]).await;
        let lost = Upload::of(&cleo, &created);
        lost.patch(0, "he").await.with(204);
        for path in [format!("/files/{reports}"), format!("/files/{reports}?permanent=true")] {
            cleo.delete(&path).await.with(204);
        }
        lost.patch(2, "re").await.problem(404, "not_found");
        assert_eq!(used(&cleo).await, 9);
        assert_eq!(platform.objects_of(&cleo).await, 2);
    }

    /// The last bytes were stored, and the process died before it could make the file.
    async fn what_has_everything_is_completed_by_whoever_finds_it(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let (one, two) = (Upload::begin(&cleo, "1", 5).await, Upload::begin(&cleo, "2", 5).await);
        for upload in [&one, &two] {
            upload.patch(0, "hell").await.with(204);
        }
        for node in platform.objects_under(&cleo).await {
            use std::io::Write;
            let mut file = std::fs::File::options().append(true).open(node).expect("a file");
            file.write_all(b"o").expect("it is written");
        }
        let mut tx = platform.host.db.write().await.expect("a transaction");
        tx.query("UPDATE resumable_uploads SET received = length").run().await.expect("it is so");
        tx.commit().await.expect("it is so");
        assert_eq!(one.offset().await, 5);
        assert_eq!(content(&cleo, one.id()).await, "hello");
        assert_eq!(names(&cleo, "").await, ["1"]);
        work::library::tidy(&platform.host).await.expect("it tidies up");
        assert_eq!(names(&cleo, "").await, ["1", "2"]);
        assert_eq!(cleo.get("/files").await.ok()["data"][1].id(), two.id());
    }

    /// Eight at once send the same piece: it is there once.
    async fn one_writes_at_a_time(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let all = letters(3_000_000);
        let upload = Upload::begin(&cleo, "x", all.len()).await;
        let sent = futures::future::join_all((0..8).map(|_| upload.patch(0, all[..1_000_000].to_owned()))).await;
        for answer in &sent {
            assert!(matches!(answer.status, 204 | 409 | 423), "{}", answer.text);
        }
        let offset = upload.offset().await;
        assert!(offset <= 1_000_000, "{offset}");
        upload.patch(offset, all[offset..].to_owned()).await.with(204);
        assert!(content(&cleo, upload.id()).await == all);
    }
}
