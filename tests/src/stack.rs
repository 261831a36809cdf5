//! The local servers, and accounts on them that no other test uses.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mailrail_domain::{
    Timestamp,
    settings::profile::{IncomingProtocol, Security, ServerLocation},
};
use mailrail_test_support::build::{clock, location};
use serde::Deserialize;

use crate::letter::{Letter, with_lf};

/// The variable that names the description of the running servers.
const VARIABLE: &str = "MAILRAIL_TEST_STACK";
/// Accounts of the old IMAP server: the first so many of all.
const OLD_ACCOUNTS: u32 = 40;
/// Between two looks at what a server does after it has answered.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Looks that are taken: ten seconds' worth.
const LOOKS_MAX: u32 = 500;

/// What `stack.json` says.
#[derive(Debug, Deserialize)]
pub struct Stack {
    /// The emulator of AWS.
    pub aws: Aws,
    /// The deployed console.
    pub console: Console,
    /// The names of the deployed functions, by the names of their directories.
    pub functions: BTreeMap<String, String>,
    /// The outputs of the deployed template.
    pub outputs: BTreeMap<String, String>,
    /// Dovecot and Postfix.
    pub mail: Mail,
    /// GNU imap4d.
    pub old_imap: OldImap,
    /// The test server of a tenant of Exchange Online.
    pub exchange_online: TestServer,
    /// The test server of an organization's Exchange Server.
    pub exchange_server: TestServer,
    /// The interpreter that has other people's clients and servers.
    pub python: PathBuf,
    /// The proxy that checks against a contract, and the contracts; absent where the reference shelf is.
    pub contracts: Option<Contracts>,
}

/// A test server of ours in a process of its own.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of infra/README.md")]
pub struct TestServer {
    pub url: String,
}

/// What requests and replies are checked against.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of infra/README.md")]
pub struct Contracts {
    pub prism: PathBuf,
    pub folder: PathBuf,
}

/// The emulator of AWS.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of infra/README.md")]
pub struct Aws {
    pub url: String,
    pub region: String,
    pub aws_access_key_id: String,
}

/// The deployed console.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of infra/README.md")]
pub struct Console {
    pub url: String,
    pub token: String,
}

/// Dovecot and Postfix.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of infra/README.md")]
pub struct Mail {
    pub host: String,
    pub ca_pem: PathBuf,
    pub accounts: Accounts,
    pub imap: u16,
    pub imaps: u16,
    pub pop3: u16,
    pub pop3s: u16,
    pub submission: u16,
    pub submissions: u16,
    pub store: PathBuf,
    pub xoauth2_hs256_key: String,
}

/// The accounts: how many there are, and the first.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of infra/README.md")]
pub struct Accounts {
    pub count: u32,
    pub address: String,
    pub password: String,
}

/// GNU imap4d.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of infra/README.md")]
pub struct OldImap {
    pub imap: u16,
    pub imaps: u16,
    pub store: PathBuf,
}

/// The running servers.
///
/// # Panics
///
/// If they are not running: a test that needs them fails, and says how to start them.
pub fn stack() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(|| {
        let start = "run `infra/local/test --up` in another terminal and the `export` that it prints in this one, or \
                     run every test with `infra/local/test`";
        let path = std::env::var(VARIABLE).unwrap_or_else(|_| panic!("{VARIABLE} is not set: {start}"));
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path} cannot be read ({e}): {start}"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path} does not describe the servers ({e}): {start}"))
    })
}

/// A server of incoming email, with the way its connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Dovecot, IMAP with TLS from the first byte.
    Imaps,
    /// Dovecot, IMAP with STARTTLS.
    ImapStarttls,
    /// GNU imap4d, IMAP with TLS from the first byte.
    OldImaps,
    /// GNU imap4d, IMAP with STARTTLS.
    OldImapStarttls,
    /// Dovecot, POP3 with TLS from the first byte.
    Pop3s,
    /// Dovecot, POP3 with STLS.
    Pop3Stls,
}

impl Server {
    /// Its protocol.
    #[must_use]
    pub const fn protocol(self) -> IncomingProtocol {
        match self {
            Self::Imaps | Self::ImapStarttls | Self::OldImaps | Self::OldImapStarttls => IncomingProtocol::Imap,
            Self::Pop3s | Self::Pop3Stls => IncomingProtocol::Pop3,
        }
    }

    /// Whether it is GNU imap4d.
    #[must_use]
    pub const fn is_old(self) -> bool {
        matches!(self, Self::OldImaps | Self::OldImapStarttls)
    }

    /// Its port.
    #[must_use]
    pub fn port(self) -> u16 {
        let stack = stack();
        match self {
            Self::Imaps => stack.mail.imaps,
            Self::ImapStarttls => stack.mail.imap,
            Self::OldImaps => stack.old_imap.imaps,
            Self::OldImapStarttls => stack.old_imap.imap,
            Self::Pop3s => stack.mail.pop3s,
            Self::Pop3Stls => stack.mail.pop3,
        }
    }

    /// The way its connection is secured.
    #[must_use]
    pub const fn security(self) -> Security {
        match self {
            Self::Imaps | Self::OldImaps | Self::Pop3s => Security::Tls,
            Self::ImapStarttls | Self::OldImapStarttls | Self::Pop3Stls => Security::Starttls,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn location(self) -> ServerLocation {
        self.at_port(self.port())
    }

    /// Where it is when it is reached through a proxy.
    #[must_use]
    pub fn at_port(self, port: u16) -> ServerLocation {
        location(&stack().mail.host, port, self.security())
    }

    /// An account that no other test has, without mail.
    #[must_use]
    pub fn account(self) -> Account {
        static OLD: AtomicU32 = AtomicU32::new(1);
        if self.is_old() {
            let number = OLD.fetch_add(1, Ordering::Relaxed);
            assert!(number <= OLD_ACCOUNTS, "the old server has only {OLD_ACCOUNTS} accounts");
            let account = Account::number(number, |name, _| stack().old_imap.store.join(name).join("INBOX"));
            account.empty();
            return account;
        }
        account()
    }
}

static NEXT: AtomicU32 = AtomicU32::new(OLD_ACCOUNTS + 1);
static DEPLOYED: AtomicU32 = AtomicU32::new(0);

/// An account on Dovecot and Postfix that no other test has, without mail.
#[must_use]
pub fn account() -> Account {
    on_dovecot(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The same for the deployed functions. These come from the other end: what a test leaves behind there goes on being
/// synchronized, which must not happen to an account of another test when the tests run again.
#[must_use]
pub fn deployed_account() -> Account {
    on_dovecot(stack().mail.accounts.count - DEPLOYED.fetch_add(1, Ordering::Relaxed))
}

fn on_dovecot(number: u32) -> Account {
    let taken = NEXT.load(Ordering::Relaxed) + DEPLOYED.load(Ordering::Relaxed);
    let count = stack().mail.accounts.count;
    assert!(taken <= count + 1, "there are only {count} accounts");
    let account = Account::number(number, |_, address| stack().mail.store.join(address).join("Maildir"));
    account.empty();
    account
}

/// An account, and the Maildir that its server keeps for it.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its address, which is also its user name.
    pub address: String,
    /// Its password.
    pub password: String,
    /// Its inbox.
    pub maildir: PathBuf,
}

impl Account {
    fn number(number: u32, maildir: impl Fn(&str, &str) -> PathBuf) -> Self {
        let first = &stack().mail.accounts;
        let name = format!("u{number:04}");
        let address = first.address.replace("u0001", &name);
        let password = first.password.replace("u0001", &name);
        Self { maildir: maildir(&name, &address), address, password }
    }

    /// Empties the inbox as if it had never been used: what an earlier run left behind is gone.
    fn empty(&self) {
        if self.maildir.exists() {
            fs::remove_dir_all(&self.maildir).expect("the account's mail can be removed");
        }
        make_maildir(&self.maildir);
    }

    /// Delivers a message, received when it was sent.
    pub fn deliver(&self, letter: &Letter) -> PathBuf {
        self.deliver_raw(&with_lf(&letter.raw()), letter.at)
    }

    /// Delivers these very bytes.
    pub fn deliver_raw(&self, raw: &[u8], at: Timestamp) -> PathBuf {
        deliver_into(&self.maildir, raw, at)
    }

    /// Puts a message into the Sent folder.
    pub fn deliver_sent(&self, raw: &[u8]) {
        let folder = self.maildir.join(".Sent");
        make_maildir(&folder);
        deliver_into(&folder, raw, clock());
    }

    /// Files of the messages that are in the inbox and not marked as deleted.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let all = ["new", "cur"].into_iter().flat_map(|part| entries(&self.maildir.join(part)));
        let is_deleted = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.rsplit_once(":2,").is_some_and(|(_, flags)| flags.contains('T'))
        };
        all.filter(|path| !is_deleted(path)).collect()
    }

    /// The files, once there are `count` of them: a server may write them after it has answered.
    pub async fn wait_for_files(&self, count: usize) -> Vec<PathBuf> {
        eventually("the mail in the inbox", || {
            let files = self.files();
            (files.len() == count).then_some(files)
        })
        .await
    }

    /// Removes every message, as another program would; the inbox stays the same inbox.
    pub async fn remove_all(&self) {
        // A session that is just ending may be moving messages from one folder to the other.
        eventually("the inbox", || {
            let files = self.files();
            files.iter().for_each(|file| drop(fs::remove_file(file)));
            files.is_empty().then_some(())
        })
        .await;
    }

    /// Gives an inbox of Dovecot another UIDVALIDITY and its messages other UIDs, as a restored backup has them.
    pub fn renumber(&self) {
        for entry in entries(&self.maildir) {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // A session that is just ending removes its temporary files itself.
            if name.starts_with("dovecot") && fs::remove_file(&entry).is_err() {
                assert!(!entry.exists(), "an index can be removed");
            }
        }
        // Written anew it would have the present second for its UIDVALIDITY, which may be the old one's.
        let list = self.maildir.join("dovecot-uidlist");
        fs::write(&list, "3 V4000000000 N1000 G0123456789abcdef0123456789abcdef\n").expect("the list can be written");
        give(&list, &self.maildir);
    }

    /// An access token for XOAUTH2 that ends so many seconds from now.
    #[must_use]
    pub fn token(&self, seconds: i64) -> String {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, stack().mail.xoauth2_hs256_key.as_bytes());
        let expires = clock().timestamp() + seconds;
        let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let header = encode(serde_json::json!({"alg": "HS256", "typ": "JWT"}));
        let claims = encode(serde_json::json!({"sub": self.address, "exp": expires}));
        let signed = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// Waits, for a bounded time, until there is something to be seen.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS_MAX {
        if let Some(seen) = look() {
            return seen;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    panic!("{what} did not become what it should be in {:?}", BETWEEN_LOOKS * LOOKS_MAX);
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(folder).into_iter().flatten();
    listing.map(|entry| entry.expect("an entry of a folder").path()).collect()
}

/// Makes a Maildir that belongs to whom the mail of all accounts belongs to.
fn make_maildir(folder: &Path) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(folder.join(part)).expect("a Maildir can be made");
        give(&folder.join(part), &stack().mail.store);
    }
    for made in folder.ancestors().take_while(|made| **made != stack().mail.store && **made != stack().old_imap.store) {
        give(made, &stack().mail.store);
    }
}

fn deliver_into(maildir: &Path, raw: &[u8], at: Timestamp) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}.M{number:09}P{}.test", at.timestamp(), std::process::id());
    let (written, delivered) = (maildir.join("tmp").join(&name), maildir.join("new").join(&name));
    fs::write(&written, raw).expect("a message can be written");
    let file = fs::File::options().write(true).open(&written).expect("a message that was just written");
    let seconds = u64::try_from(at.timestamp()).expect("a moment after 1970");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).expect("its time can be set");
    give(&written, maildir);
    fs::rename(&written, &delivered).expect("a message can be delivered");
    delivered
}

/// Gives `path` to the owner of `like`. Only root may, and only root needs to.
fn give(path: &Path, like: &Path) {
    let owner = fs::metadata(like).expect("a folder of the mail server");
    let mine = fs::metadata(path).expect("a path that was just made");
    if mine.uid() != owner.uid() {
        chown(path, Some(owner.uid()), Some(owner.gid())).expect("the mail's owner can be given a file");
    }
}
