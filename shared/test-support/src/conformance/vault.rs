//! Secrets at rest: opened for the owner they were sealed for, and for nobody else.

use mailrail_engine::ports::{Sealed, Secret, Vault};

/// Every test of the suite, each on a fresh `$make`: an expression of a test's asynchronous body.
#[macro_export]
macro_rules! vault_suite {
    ($make:expr) => {
        $crate::conformance_tests!(vault in vault, $make, [
            a_secret_opens_as_it_was_sealed,
            a_secret_opens_again_and_again,
            a_sealed_secret_survives_being_stored,
            owners_of_one_context_have_secrets_of_their_own,
            a_secret_of_somebody_else_does_not_open,
            a_secret_under_another_context_does_not_open,
            a_damaged_secret_does_not_open,
            a_secret_put_together_from_two_does_not_open,
        ]);
    };
}

/// What only a vault that encrypts can promise, in addition to [`vault_suite`].
#[macro_export]
macro_rules! encryption_suite {
    ($make:expr) => {
        $crate::conformance_tests!(encryption in vault, $make, [
            no_part_of_a_sealed_secret_shows_it,
            a_secret_sealed_twice_looks_different,
        ]);
    };
}

const OWNER: &str = "mailbox/m1";
const CONTEXT: &str = "profile/p1";
const PASSWORD: &str = "correct horse battery staple";

async fn seal(vault: &impl Vault, owner: &str, secret: &str) -> Sealed {
    vault.seal(owner, CONTEXT, &Secret::new(secret)).await.unwrap()
}

async fn open(vault: &impl Vault, owner: &str, sealed: &Sealed) -> Option<String> {
    vault.open(owner, sealed).await.unwrap().map(|secret| secret.expose().to_owned())
}

/// Ways in which a stored text can be wrong: another character in the middle and at the end, cut short, too long, gone,
/// no base64 at all.
fn damaged(text: &str) -> Vec<String> {
    let content = text.trim_end_matches('=');
    // Before the padding, where a change is one of the content.
    let places = [content.len() / 2, content.len() - 1];
    let changed = places.map(|at| {
        let other = if text[at..].starts_with('A') { "B" } else { "A" };
        format!("{}{other}{}", &text[..at], &text[at + 1..])
    });
    let short = text[..text.len() / 8 * 4].to_owned();
    let mut forms = Vec::from(changed);
    forms.extend([short, format!("{text}{text}"), String::new(), "no base64!".to_owned()]);
    forms
}

pub async fn a_secret_opens_as_it_was_sealed(vault: &impl Vault) {
    // An access token is longer than what a key service encrypts by itself.
    let token = "t".repeat(16_384);
    for secret in [PASSWORD, "", "pässwörd 🔑", " \t\r\n\0", &token] {
        let sealed = seal(vault, OWNER, secret).await;
        assert_eq!(open(vault, OWNER, &sealed).await.as_deref(), Some(secret));
    }
}

pub async fn a_secret_opens_again_and_again(vault: &impl Vault) {
    let sealed = seal(vault, OWNER, PASSWORD).await;
    for _ in 0..3 {
        assert_eq!(open(vault, OWNER, &sealed).await.as_deref(), Some(PASSWORD));
    }
}

pub async fn a_sealed_secret_survives_being_stored(vault: &impl Vault) {
    let sealed = seal(vault, OWNER, PASSWORD).await;
    assert_eq!(sealed.key_context, CONTEXT);
    let read_back = Sealed {
        wrapped_key: sealed.wrapped_key.clone(),
        key_context: sealed.key_context.clone(),
        nonce: sealed.nonce.clone(),
        ciphertext: sealed.ciphertext.clone(),
    };
    assert_eq!(open(vault, OWNER, &read_back).await.as_deref(), Some(PASSWORD));
}

pub async fn owners_of_one_context_have_secrets_of_their_own(vault: &impl Vault) {
    let (mine, theirs) = (seal(vault, OWNER, "mine").await, seal(vault, "mailbox/m2", "theirs").await);
    assert_eq!(open(vault, OWNER, &mine).await.as_deref(), Some("mine"));
    assert_eq!(open(vault, "mailbox/m2", &theirs).await.as_deref(), Some("theirs"));
    assert_eq!(open(vault, OWNER, &theirs).await, None);
    assert_eq!(open(vault, "mailbox/m2", &mine).await, None);
}

pub async fn a_secret_of_somebody_else_does_not_open(vault: &impl Vault) {
    let sealed = seal(vault, OWNER, PASSWORD).await;
    for somebody in ["mailbox/m2", "mailbox/m", "mailbox/m11", "profile/m1", CONTEXT, ""] {
        assert_eq!(open(vault, somebody, &sealed).await, None, "{somebody}");
    }
}

pub async fn a_secret_under_another_context_does_not_open(vault: &impl Vault) {
    let sealed = seal(vault, OWNER, PASSWORD).await;
    // Before and after it was opened rightly: what a vault remembers must not change its answer.
    for round in 0..2 {
        for context in ["profile/p2", "", OWNER] {
            let moved = Sealed { key_context: context.to_owned(), ..sealed.clone() };
            assert_eq!(open(vault, OWNER, &moved).await, None, "{context} in round {round}");
        }
        assert_eq!(open(vault, OWNER, &sealed).await.as_deref(), Some(PASSWORD));
    }
}

pub async fn a_damaged_secret_does_not_open(vault: &impl Vault) {
    let sealed = seal(vault, OWNER, PASSWORD).await;
    for form in damaged(&sealed.wrapped_key) {
        let damaged = Sealed { wrapped_key: form, ..sealed.clone() };
        assert_eq!(open(vault, OWNER, &damaged).await, None, "{damaged:?}");
    }
    for form in damaged(&sealed.nonce) {
        let damaged = Sealed { nonce: form, ..sealed.clone() };
        assert_eq!(open(vault, OWNER, &damaged).await, None, "{damaged:?}");
    }
    for form in damaged(&sealed.ciphertext) {
        let damaged = Sealed { ciphertext: form, ..sealed.clone() };
        assert_eq!(open(vault, OWNER, &damaged).await, None, "{damaged:?}");
    }
    assert_eq!(open(vault, OWNER, &sealed).await.as_deref(), Some(PASSWORD), "what is whole still opens");
}

pub async fn a_secret_put_together_from_two_does_not_open(vault: &impl Vault) {
    let (mine, theirs) = (seal(vault, OWNER, "mine").await, seal(vault, "mailbox/m2", "theirs").await);
    let grafted = Sealed { nonce: theirs.nonce, ciphertext: theirs.ciphertext, ..mine };
    assert_eq!(open(vault, OWNER, &grafted).await, None);
}

pub async fn no_part_of_a_sealed_secret_shows_it(vault: &impl Vault) {
    let sealed = seal(vault, OWNER, PASSWORD).await;
    let shown = format!("{sealed:?} {:?}", Secret::new(PASSWORD));
    // In the clear, reversed, and in base64 from each of the three places where a group of it can begin.
    let reversed: String = PASSWORD.chars().rev().collect();
    for form in [PASSWORD, &reversed, "Y29ycmVjdCBob3Jz", "b3JyZWN0IGhvcnNl", "cnJlY3QgaG9yc2Ug", "horse"] {
        assert!(!shown.contains(form), "{form}");
    }
}

pub async fn a_secret_sealed_twice_looks_different(vault: &impl Vault) {
    let (first, second) = (seal(vault, OWNER, PASSWORD).await, seal(vault, OWNER, PASSWORD).await);
    // Under one data key a nonce that is used twice gives both secrets away.
    assert_ne!((&first.wrapped_key, &first.nonce), (&second.wrapped_key, &second.nonce));
    assert_ne!(first.ciphertext, second.ciphertext);
}
