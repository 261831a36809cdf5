//! Messages that no one here wrote: each becomes a record with every byte, or goes to quarantine with a reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use end_to_end::{letter::with_crlf, stack::Server, world::World};
use mailrail_domain::{
    seconds_after,
    settings::profile::IncomingProtocol,
    words::id::{EmailId, MailboxId},
};
use mailrail_engine::mime::read;
use mailrail_test_support::build;

/// What stands in the folder beside the messages.
const NO_MESSAGES: [&str; 2] = ["COPYING", "README.md"];

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry of a folder").path());
    let mut files: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect();
    files.retain(|path| !NO_MESSAGES.iter().any(|name| path.ends_with(name)));
    files.sort();
    files
}

/// The messages of the corpora, if they are there.
fn messages() -> Option<Vec<(PathBuf, Vec<u8>)>> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let folders: Vec<PathBuf> = ["mime-stalwart", "mime-mime4j"].map(|name| corpora.join(name)).into();
    if !folders.iter().all(|folder| folder.exists()) {
        return None;
    }
    let files = folders.iter().flat_map(|folder| files_below(folder));
    Some(files.map(|path| (path.clone(), fs::read(&path).expect("a message"))).collect())
}

/// As Dovecot hands it out: lines end in CRLF. IMAP cannot carry a zero byte, so it is another there; POP3 cannot carry
/// a last line without its end.
fn handed_out(raw: &[u8], server: Server) -> Vec<u8> {
    let mut lines = with_crlf(raw);
    match server.protocol() {
        IncomingProtocol::Imap => lines.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = 0x80),
        IncomingProtocol::Pop3 if lines.ends_with(b"\n") || lines.is_empty() => {}
        IncomingProtocol::Pop3 => lines.extend_from_slice(b"\r\n"),
    }
    lines
}

/// Whether two files are one message: by Message-ID and Date, or, where there is no Message-ID, by what its author wrote,
/// decoded.
fn are_one_message(one: &[u8], other: &[u8]) -> bool {
    let same = |name: &str| field(one, name) == field(other, name);
    match field(one, "Message-ID") {
        Some(_) => same("Message-ID") && same("Date"),
        None => {
            ["Message-ID", "Date", "From", "To", "Cc", "Subject"].into_iter().all(same)
                && decoded(one) == decoded(other)
        }
    }
}

/// Words, and files with their names.
type Decoded = (Vec<String>, Vec<(Option<String>, Vec<u8>)>);

/// What a message comes to once it is decoded.
fn decoded(raw: &[u8]) -> Option<Decoded> {
    let mailbox = MailboxId::parse("m1").expect("an identifier");
    let message = read(raw, raw.len() as u64, &mailbox, None, build::clock()).ok()?;
    let names = message.email.attachments.into_iter().map(|attachment| attachment.name);
    let files = names.zip(message.attachments.iter().map(|content| content.to_vec())).collect();
    Some((message.email.text.split_whitespace().map(str::to_owned).collect(), files))
}

/// The first field of this name, unfolded, as it stands in the header.
fn field(raw: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(raw).replace("\r\n", "\n");
    let header = text.split("\n\n").next().unwrap_or_default().replace("\n ", " ").replace("\n\t", " ");
    let mut fields = header.lines().filter_map(|line| line.split_once(':'));
    let value = fields.find(|(found, _)| found.trim().eq_ignore_ascii_case(name))?.1.trim().to_owned();
    Some(value).filter(|value| !value.is_empty())
}

async fn check_corpora(server: Server) {
    let Some(messages) = messages() else {
        println!("NOT RUN: ../shared/corpora is not there");
        return;
    };
    assert!(messages.len() > 200, "only {} messages", messages.len());
    let (world, account) = (World::new(), server.account());
    for (second, (_, raw)) in (0..).zip(&messages) {
        account.deliver_raw(raw, seconds_after(build::moment(0), second));
    }
    let mailbox = world.reader(server, &account).await;
    world.receive(&mailbox).await;

    // A message without Message-ID and Date is another one each time it arrives, though its bytes are the same.
    let mut records: BTreeMap<Vec<u8>, Vec<EmailId>> = BTreeMap::new();
    let emails = world.emails(&mailbox).await;
    for email in &emails {
        records.entry(world.object(&email.raw_key).await).or_default().push(email.id.clone());
    }
    let mut quarantine = BTreeSet::new();
    for entry in world.quarantined(&mailbox).await {
        assert!(!entry.detail.is_empty(), "{entry:?}");
        println!("quarantine: {:?}, {}", entry.reason, entry.detail);
        quarantine.insert(world.object(&entry.raw_key).await);
    }
    let (mut own, mut shared, mut refused) = (0, 0, 0);
    let mut lost = Vec::new();
    let mut used = BTreeSet::new();
    for (path, raw) in &messages {
        let raw = handed_out(raw, server);
        if let Some(ids) = records.get(&raw) {
            used.extend(ids.iter().cloned());
            own += 1;
        } else if quarantine.contains(&raw) {
            refused += 1;
        } else {
            // Its record was made of another file; the two must then be the same message.
            let known = read(&raw, raw.len() as u64, &mailbox, None, build::clock()).map(|message| message.email.id);
            let twin = known.ok().and_then(|id| records.iter().find(|(_, ids)| ids.contains(&id)));
            if twin.is_some_and(|(other, _)| are_one_message(&raw, other)) {
                shared += 1;
            } else {
                lost.push((path, twin.map(|(_, id)| id)));
            }
        }
    }
    println!(
        "{server:?}: {} files: {own} are records, {shared} share the record of another, {refused} are in quarantine",
        messages.len()
    );
    assert!(lost.is_empty(), "{lost:#?}");
    assert_eq!(used.len(), emails.len(), "records that no file explains");
    world.receive(&mailbox).await;
    assert_eq!(world.emails(&mailbox).await.len(), emails.len());
}

#[tokio::test]
async fn every_message_of_the_corpora_is_accounted_for_over_imap() {
    check_corpora(Server::Imaps).await;
}

#[tokio::test]
async fn every_message_of_the_corpora_is_accounted_for_over_pop3() {
    check_corpora(Server::Pop3s).await;
}
