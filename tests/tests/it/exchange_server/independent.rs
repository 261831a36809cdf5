//! Other people's programs: a client that uses the test server, and an acceptor of NTLM that ours signs in to.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use end_to_end::{
    letter::Letter,
    on_premises::{OnPremises, PASSWORD, SERVICE, address, pem, profile, web_services, with},
    stack::stack,
    world::Outbound,
};
use mailrail_domain::{
    email::record::EmailStatus,
    settings::profile::{Authentication, EmailServerProfile},
    words::cause::Cause,
};
use mailrail_test_support::{build, ews::Place};
use serde_json::Value;

use super::INCOMING;

/// A folder of its own for a test, which is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mailrail-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/exchange_server").join(name)
}

#[tokio::test]
async fn an_independent_client_lists_reads_sends_moves_and_deletes_with_the_test_server() {
    let folder = Folder::new("exchangelib");
    for access in ["impersonation", "delegate"] {
        let there = OnPremises::new().await;
        for name in ["ada", "bob"] {
            there.account(name);
        }
        {
            let mut exchange = there.server.exchange();
            let inside = exchange.mailbox(&address("ada"));
            inside.full_access.insert(SERVICE.to_owned());
            inside.send_as.insert(SERVICE.to_owned());
        }
        let letters: Vec<Letter> = (0..150).map(|n| Letter::new(&format!("letter {n:03}"))).collect();
        for letter in &letters {
            there.deliver("ada", letter);
        }
        there.place("localhost", &Place::Location(web_services("localhost")));
        let ca = folder.file("ca.pem", &pem().0);
        let arguments = [address("ada"), SERVICE.to_owned(), PASSWORD.to_owned(), address("bob"), access.to_owned()];
        let mut command = Command::new(&stack().python);
        command.arg(script("exchangelib_client.py")).arg(ca).arg(there.server.port().to_string()).args(&arguments);
        let done = tokio::task::spawn_blocking(move || command.output().expect("Python runs")).await.expect("it ends");
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let saw: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{access}: {out}{err}"));
        assert_eq!(saw["location"], web_services("localhost"));
        let listed = saw["listed"].as_array().expect("a list");
        assert_eq!(listed.len(), letters.len());
        for (seen, letter) in listed.iter().zip(&letters) {
            let id = letter.message_id.as_ref().map(|id| format!("<{id}>"));
            assert_eq!(
                (seen["subject"].as_str(), seen["message_id"].as_str()),
                (Some(letter.subject.as_str()), id.as_deref())
            );
        }
        assert_eq!(saw["mime"].as_str().expect("a message").as_bytes(), letters[0].raw());
        assert_eq!(saw["sent"], serde_json::json!(["From another client"]));
        assert_eq!(saw["synchronized"].as_array().map(Vec::len), Some(150));
        assert_eq!((saw["left"].as_u64(), &saw["trash"]), (Some(148), &serde_json::json!(["letter 149"])), "{access}");
        let after = saw["after"].as_array().expect("changes");
        assert_eq!(after.iter().filter(|change| *change == "delete").count(), 2, "{after:?}");
        let sent = there.server.exchange().sent.clone();
        assert_eq!(sent[0].recipients, [address("bob")].into());
    }
}

/// The acceptor, which ends with its test.
struct Acceptor {
    process: Child,
    port: u16,
    folder: Folder,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Acceptor {
    /// An acceptor for these accounts, `DOMAIN:USER:PASSWORD`, before a server where all of them are the service account.
    fn start(accounts: &str, upstream: u16) -> Self {
        let folder = Folder::new(&format!("ntlm-{upstream}"));
        let (certificate, key) = pem();
        let mut command = Command::new(&stack().python);
        command
            .arg(script("ntlm_acceptor.py"))
            .arg(folder.file("certificate.pem", &certificate))
            .arg(folder.file("key.pem", &key))
            .args([&upstream.to_string(), SERVICE, PASSWORD])
            .arg(folder.file("log", ""))
            .env("NTLM_USER_FILE", folder.file("accounts", accounts))
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("Python runs");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("the acceptor did not start: {line}"));
        Self { process, port, folder }
    }

    /// How often somebody has begun to sign in.
    fn sign_ins(&self) -> usize {
        fs::read_to_string(self.folder.0.join("log")).expect("the log").lines().count()
    }
}

#[tokio::test]
async fn ntlm_signs_in_to_an_independent_acceptor_with_integrity_and_channel_binding() {
    for (accounts, username) in
        [("EXAMPLE:ada:secret\n", "EXAMPLE\\ada"), (":ada@exchange.test:secret\n", "ada@exchange.test")]
    {
        let profile = with(profile(), |server| server.use_impersonation = true);
        let profile = EmailServerProfile { authentication: Authentication::Ntlm, ..profile };
        let there = OnPremises::with(profile).await;
        there.account("bob");
        let acceptor = Acceptor::start(accounts, there.server.port());
        let there = there.moved_to(acceptor.port).await;
        there.account("ada");
        let mut mailbox = build::mailbox("ada", &address("ada"), &there.profile);
        mailbox.username = Some(username.to_owned());
        let mailbox = there.world.add(&mailbox, &there.profile, "secret").await;
        let subjects = there.deliver_all("ada", 70);
        there.receive(&mailbox).await;
        assert_eq!(there.subjects(&mailbox).await, subjects, "{username}");
        assert_eq!(acceptor.sign_ins(), 1, "all requests of a run go over the connection that was signed in");
        // An idle check signs in and asks: two requests to the acceptor, one of which reaches the server.
        let before = there.requests();
        there.receive(&mailbox).await;
        assert_eq!((there.requests() - before, acceptor.sign_ins()), (1, 2));
        // A message goes over the connection that was signed in.
        let bob = address("bob");
        let id = there.world.pend(&mailbox, &Outbound { to: &[&bob], cc: &[], bcc: &[], subject: "By NTLM" }).await;
        there.world.send(&mailbox).await;
        assert_eq!(there.world.email(&id).await.status, EmailStatus::Sent);
        let test = there.world.tested(&mailbox).await;
        assert!(test.deliveries.iter().all(|part| part.cause.is_none()), "{test:#?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_the_independent_acceptor() {
    let profile = EmailServerProfile { authentication: Authentication::Ntlm, ..profile() };
    let there = OnPremises::with(profile).await;
    let acceptor = Acceptor::start("EXAMPLE:ada:another\n", there.server.port());
    let there = there.moved_to(acceptor.port).await;
    there.account("ada");
    let mut mailbox = build::mailbox("ada", &address("ada"), &there.profile);
    mailbox.username = Some("EXAMPLE\\ada".to_owned());
    let mailbox = there.world.add(&mailbox, &there.profile, "secret").await;
    there.world.run(&mailbox, INCOMING).await;
    assert_eq!(there.open_alerts(&mailbox).await[0].cause, Some(Cause::CredentialsRefused));
    assert_eq!(there.requests(), 0);
    assert!(!there.world.state(&mailbox, INCOMING).await.enabled);
}
