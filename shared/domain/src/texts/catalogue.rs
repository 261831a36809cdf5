//! The catalogue of alerts, `docs/alerts.md`. It is made from the rules and texts themselves, so that it cannot differ
//! from them.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use crate::{
    Timestamp,
    rules::{
        classification::{Permanence, Scope, classify},
        hold::ProfileHealth,
        story::{Consequence, Failure, Story},
    },
    sample::{exchange_online, exchange_server, sample},
    settings::{
        mailbox::Mailbox,
        profile::{EmailServerProfile, Servers},
    },
    texts::{
        alert::{About, alert},
        wording::duration,
    },
    words::{
        alert::{Alert, AlertAction, AlertKind},
        cause::{Cause, CredentialSource, DeliveryError},
        delivery::Delivery,
        evidence::{Evidence, Stage},
        policy::RetryPolicy,
    },
};

/// The variable that lets the test write the file instead of comparing it.
const WRITES: &str = "MAILRAIL_WRITE_DOCS";

/// Alerts that appointments, contacts and tasks raise.
const OF_ITEMS: [AlertKind; 2] = [AlertKind::OrganizerMissing, AlertKind::OtherPrimaryOrganization];
/// Alerts that outgoing email raises.
const OF_SENDING: [AlertKind; 3] =
    [AlertKind::SenderRefused, AlertKind::SendingDeferred, AlertKind::TestMessageNotArrived];

fn introduction() -> String {
    let RetryPolicy { failures_max, gap_seconds } = RetryPolicy::default();
    format!(
        "\
# Alerts

This page is made from the program, and a test keeps it so. Each alert stands here under the name that the API gives it,
with a text as it is shown for the mailbox Sales of the profile Example, the causes that raise it, and what to do. The alert
itself also shows the words of the server. A *permanent* cause disables the delivery at once. A *transient* cause is tried
again every {}; after {failures_max} failures in a row the delivery is disabled. A cause that concerns the *profile* is told
once, on the profile, and its mailboxes refer to that alert.
",
        duration(gap_seconds)
    )
}

fn profiles() -> [(&'static str, EmailServerProfile); 3] {
    let (mail, _) = sample();
    let mail = EmailServerProfile { name: "Example".to_owned(), ..mail };
    let of = |servers: Servers| EmailServerProfile { servers, ..mail.clone() };
    [
        ("internet mail", mail.clone()),
        ("Exchange Online", of(exchange_online())),
        ("Exchange Server", of(exchange_server())),
    ]
}

/// The alert of a story on a mailbox of a profile.
fn told(story: &Story, profile: &EmailServerProfile, mailbox: &Mailbox, delivery: Delivery) -> Alert {
    let now = Timestamp::UNIX_EPOCH;
    alert(story, &About { profile, mailbox: Some(mailbox), delivery, policy: RetryPolicy::default(), now })
}

fn failed(cause: Cause, credentials: CredentialSource) -> Story {
    let classification = classify(cause, credentials);
    let consequence = match classification.permanence {
        Permanence::Permanent => Consequence::Disabled,
        Permanence::Transient => Consequence::Again { in_seconds: RetryPolicy::default().gap_seconds },
    };
    let error = DeliveryError::new(cause, Evidence::new(Stage::Connect, ""));
    let since = Timestamp::UNIX_EPOCH;
    Story::Failure(Box::new(Failure { error, classification, consequence, count: 1, since }))
}

/// The name of a value in the API.
fn name(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

/// How a cause is told in the table.
fn row(cause: Cause, credentials: CredentialSource) -> String {
    let classification = classify(cause, credentials);
    let permanence = match classification.permanence {
        Permanence::Permanent => "permanent",
        Permanence::Transient => "transient",
    };
    let scope = match classification.scope {
        Scope::Server => "the profile",
        Scope::Mailbox => "the mailbox",
    };
    format!("| `{}` | {permanence} | {scope} |\n", name(cause))
}

const fn doing(action: AlertAction) -> &'static str {
    match action {
        AlertAction::Approve => "approve the address",
        AlertAction::ApproveForTenant => "have the tenant's administrator approve the address",
        AlertAction::ReenterCredentials => "enter the credentials again",
        AlertAction::ChangeProfile => "change the profile",
        AlertAction::OverridePrimaryOrganization => "test and enable the mailbox with this organization alone",
        AlertAction::TestAgain => "test and enable the mailbox again",
    }
}

/// What to do, once where every kind of server asks for the same.
fn steps(page: &mut String, of: &[(&'static str, Alert)]) {
    let mut told: Vec<(&[String], Vec<&str>)> = Vec::new();
    for (server, alert) in of {
        match told.iter_mut().find(|(steps, _)| *steps == alert.resolution) {
            Some((_, servers)) => servers.push(server),
            None => told.push((&alert.resolution, vec![server])),
        }
    }
    let is_same = told.len() == 1;
    for (steps, servers) in told {
        if !is_same {
            writeln!(page, "\nWith {}:", servers.join(" and ")).unwrap();
        }
        page.push('\n');
        for (number, step) in (1..).zip(steps) {
            writeln!(page, "{number}. {step}").unwrap();
        }
    }
}

fn section(page: &mut String, kind: AlertKind, of: &[(&'static str, Alert)], rows: &[String]) {
    let Some((_, first)) = of.first() else { panic!("an alert of no profile") };
    writeln!(page, "\n## `{}`\n\n> {}", name(kind), first.text).unwrap();
    if !rows.is_empty() {
        write!(page, "\n| cause | | concerns |\n|---|---|---|\n{}", rows.concat()).unwrap();
    }
    steps(page, of);
    if let Some(action) = first.action {
        writeln!(page, "\nAction in Mailrail: {}.", doing(action)).unwrap();
    }
}

fn catalogue() -> String {
    let (_, mailbox) = sample();
    let mut causes: BTreeMap<String, (AlertKind, CredentialSource, Vec<Cause>)> = BTreeMap::new();
    for cause in Cause::ALL {
        for credentials in [CredentialSource::Mailbox, CredentialSource::Profile] {
            let kind = classify(cause, credentials).alert;
            let (.., listed) = causes.entry(name(kind)).or_insert((kind, credentials, Vec::new()));
            if !listed.contains(&cause) {
                listed.push(cause);
            }
        }
    }
    let mut page = introduction();
    for (kind, credentials, causes) in causes.into_values() {
        let delivery = if OF_ITEMS.contains(&kind) {
            Delivery::AppointmentsContactsTasks
        } else if OF_SENDING.contains(&kind) {
            Delivery::OutgoingEmail
        } else {
            Delivery::IncomingEmail
        };
        let story = failed(causes[0], credentials);
        let of = profiles().map(|(server, profile)| {
            (server, told(&story, &EmailServerProfile { credentials, ..profile }, &mailbox, delivery))
        });
        let rows: Vec<String> = causes.iter().map(|cause| row(*cause, credentials)).collect();
        section(&mut page, kind, &of, &rows);
    }
    page.push_str("\n# Alerts that no failure raises\n");
    let error = DeliveryError::new(Cause::ConnectionRefused, Evidence::new(Stage::Connect, ""));
    let health = ProfileHealth {
        since: Timestamp::UNIX_EPOCH,
        failing: (1..=10).map(|n| format!("m{n}")).collect(),
        delivery: Delivery::IncomingEmail,
        error,
        probe_at: None,
    };
    let why = "its delivery of outgoing email is disabled";
    for (story, delivery) in [
        (Story::Held(Box::new(health)), Delivery::IncomingEmail),
        (Story::Majority { failing: 12 }, Delivery::IncomingEmail),
        (Story::Stall { since: Timestamp::UNIX_EPOCH }, Delivery::IncomingEmail),
        (Story::PendingSend { why }, Delivery::OutgoingEmail),
    ] {
        let of = profiles().map(|(server, profile)| (server, told(&story, &profile, &mailbox, delivery)));
        section(&mut page, story.kind(), &of, &[]);
    }
    page
}

#[test]
fn the_catalogue_of_alerts_is_what_the_rules_and_texts_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/alerts.md");
    let catalogue = catalogue();
    if std::env::var_os(WRITES).is_some() {
        std::fs::write(&path, &catalogue).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == catalogue, "write docs/alerts.md anew: {WRITES}=1 cargo test -p mailrail-domain catalogue");
}
