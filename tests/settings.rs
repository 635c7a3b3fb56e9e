//! Settings that make no sense: the program says which, and does not start.

use crate::harness::{Engine, Place, process::command, run};
use std::process::Stdio;

#[test]
fn what_makes_no_sense_is_named() {
    run(async {
        let place = Place::new(Engine::Sqlite).await;
        for (flag, value, named) in [
            ("--stale-seconds", "0", "staleSeconds"),
            ("--stale-seconds", "86401", "staleSeconds"),
            ("--provisioning-seconds", "0", "provisioningSeconds"),
            ("--stream-seconds", "86401", "streamSeconds"),
            ("--webhook-patience-seconds", "0", "webhookPatienceSeconds"),
            ("--receipt-days", "0", "receiptDays"),
            ("--receipts-per-agent", "0", "receiptsPerAgent"),
            ("--agent-calls-per-minute", "0", "--agent-calls-per-minute"),
            ("--file-bytes", "1.5", "--file-bytes"),
            ("--storage-url", "ftp://x", "storageUrl"),
            ("--storage-url", "s3://", "storageUrl"),
            ("--storage-url", "s3://files?colour=red", "colour"),
            ("--storage-key-id", "x", "--storage-secret"),
            ("--files-url", "files.example.com", "filesUrl"),
            ("--public-url", "example.com", "publicUrl"),
            ("--stripe-api-base", "not a url", "stripeApiBase"),
            ("--topup-least-cents", "49", "topupLeastCents"),
            ("--topup-most-cents", "100000000", "topupMostCents"),
            ("--topup-least-cents", "1000001", "topupLeastCents"),
            ("--session-least-cents", "100000000", "sessionLeastCents"),
            ("--lapse-grace-seconds", "0", "lapseGraceSeconds"),
            ("--internal-secret", "short", "internalSecret"),
            ("--files-url", "https://files.example.com/path", "filesUrl"),
            ("--files-url", "ftp://files.example.com", "filesUrl"),
            ("--database-url", "mysql://x", "--database-url"),
            ("--listen", "here", "--listen"),
            ("--webhook-allow", "everything", "--webhook-allow"),
            ("--secret-key", "short", "64 hexadecimal digits"),
        ] {
            let mut command = command(&place);
            if flag == "--database-url" {
                command = std::process::Command::new(crate::harness::program());
                command.arg("--data-dir").arg(place.folder.path().join("data"));
            }
            let told = command.args([flag, value]).arg("serve").stderr(Stdio::piped()).output();
            let told = told.expect("the program");
            let said = String::from_utf8_lossy(&told.stderr).into_owned();
            assert!(!told.status.success(), "{flag} {value}");
            assert!(said.contains(named), "{flag} {value}: {said}");
        }
    });
}
