//! Every request that is sent, validated against Microsoft's published schemas by an independent tool.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

use end_to_end::{
    letter::Letter,
    on_premises::{OnPremises, SERVICE, address, impersonating, with},
    stack::stack,
    world::{Outbound, pass},
};
use mailrail_domain::{
    rules::passing_over::ASK_AGAIN_SECONDS,
    settings::{mailbox::MailboxKind, profile::EmailServerProfile},
};
use mailrail_test_support::{build, ews::Kind};

use super::outgoing::delegated;

/// The namespaces of web services, which stand on the envelope.
const NAMESPACES: &str = " xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\" \
                          xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\"";

/// What the body of a request holds, as a document.
fn operation(request: &str) -> String {
    let (_, body) = request.split_once("<s:Body><m:").expect("a body");
    let (body, _) = body.rsplit_once("</s:Body>").expect("its end");
    let end = body.find([' ', '>']).expect("a name");
    format!("<m:{}{NAMESPACES}{}", &body[..end], &body[end..])
}

/// The impersonation in the header of a request, as a document. The version beside it is left out: the schema fixes it to
/// that of its own edition.
fn impersonation(request: &str) -> Option<String> {
    let (_, impersonation) = request.split_once("<t:ExchangeImpersonation>")?;
    let (impersonation, _) = impersonation.split_once("</s:Header>").expect("the header's end");
    Some(format!("<t:ExchangeImpersonation{NAMESPACES}>{impersonation}"))
}

/// What the validator has against a document.
fn validated(document: &str) -> Result<(), String> {
    let schema = stack().contracts.as_ref().expect("the contracts").folder.join("ews-xsd/ews-messages.xsd");
    let mut validator = Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema"])
        .arg(schema)
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xmllint: `apt-get install libxml2-utils` installs it");
    validator.stdin.take().expect("its input").write_all(document.as_bytes()).expect("written");
    let done = validator.wait_with_output().expect("it ends");
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

#[tokio::test]
async fn every_request_validates_against_microsofts_schemas() {
    if stack().contracts.is_none() {
        println!("NOT RUN: Microsoft's schemas are in ../shared, which is not beside this checkout");
        return;
    }
    let mut requests = Vec::new();
    for profile in [impersonating(), delegated()] {
        let profile = with(profile, |server| {
            server.tracked_folders = vec!["Projects/<A & B>".to_owned()];
            server.move_undeliverable = true;
        });
        let there = OnPremises::with(EmailServerProfile { delete_after_processing: true, ..profile }).await;
        there.server.exchange().mailbox(&address("bob"));
        there.account("ada");
        let mut mailbox = build::mailbox("ada", &address("ada"), &there.profile);
        mailbox.kind = MailboxKind::Queue;
        let mailbox = there.world.untested(&mailbox, &there.profile, "").await;
        {
            let mut exchange = there.server.exchange();
            let inside = exchange.mailbox(&address("ada"));
            inside.full_access.insert(SERVICE.to_owned());
            inside.send_as.insert(SERVICE.to_owned());
            let projects = inside.add_folder("Projects", "inbox");
            inside.add_folder("<A & B>", &projects);
        }
        there.world.tested(&mailbox).await;
        there.deliver_all("ada", 3);
        let number = there.deliver("ada", &Letter::new("unreadable"));
        {
            let mut exchange = there.server.exchange();
            let inside = exchange.mailbox(&address("ada"));
            inside.messages.get_mut(&number).expect("a message").kind = Kind::Unconvertible;
        }
        there.receive(&mailbox).await;
        pass(ASK_AGAIN_SECONDS.into());
        there.receive(&mailbox).await;
        let bob = address("bob");
        there.world.pend(&mailbox, &Outbound { to: &[&bob], cc: &[], bcc: &[&bob], subject: "Hi" }).await;
        there.world.send(&mailbox).await;
        requests.extend(there.server.exchange().calls.clone());
    }
    let operations: BTreeSet<&str> = requests.iter().map(|call| call.operation.as_str()).collect();
    let all = [
        "CreateFolder",
        "CreateItem",
        "DeleteItem",
        "FindFolder",
        "FindItem",
        "GetFolder",
        "GetItem",
        "MoveItem",
        "SyncFolderItems",
    ];
    assert_eq!(operations, all.into(), "each operation is among them");
    for call in &requests {
        for document in [operation(&call.body)].into_iter().chain(impersonation(&call.body)) {
            assert_eq!(validated(&document), Ok(()), "{document}");
        }
    }
    assert!(validated(&operation(&requests[0].body).replace("BaseShape", "Shape")).is_err(), "the validator refuses");
}
