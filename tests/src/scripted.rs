//! Servers that say what no real server can be brought to say.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mailrail_domain::settings::profile::{Security, ServerLocation};
use mailrail_test_support::build::location;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{ServerConfig, crypto::ring::default_provider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// The name that the servers have a certificate for.
const HOST: &str = "localhost";
/// Longer than any client under test takes for its next command.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server does with a connection, step by step. At the end it closes its side.
#[derive(Debug, Clone, Default)]
pub struct Script(Vec<Step>);

#[derive(Debug, Clone)]
enum Step {
    Hear(String),
    /// Lines up to this one.
    HearTo(&'static str),
    Say(Vec<u8>),
}

impl Script {
    /// A server that does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, then hears a line that has these words in it.
    #[must_use]
    pub fn hear(mut self, words: &str) -> Self {
        self.0.push(Step::Hear(words.to_owned()));
        self
    }

    /// The same, then hears lines up to this one, such as the end of a message.
    #[must_use]
    pub fn hear_to(mut self, last: &'static str) -> Self {
        self.0.push(Step::HearTo(last));
        self
    }

    /// The same, then says a line. A `$` in front stands for the tag of the IMAP command that was heard last.
    #[must_use]
    pub fn say(self, line: impl AsRef<[u8]>) -> Self {
        self.raw([line.as_ref(), b"\r\n"].concat())
    }

    /// The same, then says these very bytes.
    #[must_use]
    pub fn raw(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.push(Step::Say(bytes.into()));
        self
    }

    /// The same, then does what the other does.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// Whom a server's certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The name that it is reached by.
    Rightly,
    /// Another.
    Wrongly,
}

/// A running server that plays its script with every connection; it ends when it is dropped.
#[derive(Debug)]
pub struct Scripted {
    port: u16,
    security: Security,
    connections: Arc<AtomicUsize>,
    /// What a client said where the script expected something else.
    unexpected: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    /// A server with TLS from the first byte.
    pub async fn start(script: Script) -> Self {
        Self::over(Some(acceptor(Named::Rightly)), script).await
    }

    /// A server with TLS from the first byte, whose certificate is for this name.
    pub async fn named(named: Named, script: Script) -> Self {
        Self::over(Some(acceptor(named)), script).await
    }

    /// A server without TLS, for what is said before it.
    pub async fn plain(script: Script) -> Self {
        Self::over(None, script).await
    }

    async fn over(acceptor: Option<TlsAcceptor>, script: Script) -> Self {
        let listener = TcpListener::bind((HOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let (connections, unexpected) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let security = if acceptor.is_some() { Security::Tls } else { Security::Starttls };
        let (counted, noted) = (Arc::clone(&connections), Arc::clone(&unexpected));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (acceptor, script, noted) = (acceptor.clone(), script.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    if let Some(words) = serve(client, acceptor, &script).await {
                        noted.lock().unwrap_or_else(PoisonError::into_inner).push(words);
                    }
                });
            }
        });
        Self { port, security, connections, unexpected, task }
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> ServerLocation {
        location(HOST, self.port, self.security)
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Fails if a client has said something that was not in the script.
    pub fn check_as_scripted(&self) {
        let unexpected = self.unexpected.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(unexpected.is_empty(), "{unexpected:?}");
    }
}

/// The certificates of these servers, to be trusted.
#[must_use]
pub fn authorities() -> [CertificateDer<'static>; 2] {
    [Named::Rightly, Named::Wrongly].map(|named| certified(named).cert.der().clone())
}

fn certified(named: Named) -> &'static CertifiedKey<KeyPair> {
    static RIGHTLY: OnceLock<CertifiedKey<KeyPair>> = OnceLock::new();
    static WRONGLY: OnceLock<CertifiedKey<KeyPair>> = OnceLock::new();
    let (made, name) = match named {
        Named::Rightly => (&RIGHTLY, HOST),
        Named::Wrongly => (&WRONGLY, "another.example.test"),
    };
    made.get_or_init(|| generate_simple_self_signed([name.to_owned()]).expect("a certificate"))
}

fn acceptor(named: Named) -> TlsAcceptor {
    TlsAcceptor::from(Arc::new(server_config(named)))
}

/// TLS of a server whose certificate is for this name.
#[must_use]
pub fn server_config(named: Named) -> ServerConfig {
    let certified = certified(named);
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()).into();
    secured(vec![certified.cert.der().clone()], key)
}

/// TLS of a server with this certificate.
#[must_use]
pub fn secured(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let versions = builder.with_safe_default_protocol_versions().expect("versions that the provider has");
    versions.with_no_client_auth().with_single_cert(chain, key).expect("a certificate with its key")
}

/// Port and TLS of a test server that is a process of its own: `PORT CERTIFICATE.pem KEY.pem`.
///
/// # Panics
///
/// If they cannot be used.
#[must_use]
pub fn arguments() -> (u16, Arc<ServerConfig>) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, certificate, key] = &arguments[..] else {
        panic!("give PORT CERTIFICATE.pem KEY.pem");
    };
    let chain = CertificateDer::pem_file_iter(certificate).expect("a certificate");
    let chain = chain.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    (port.parse().expect("a port"), Arc::new(secured(chain, key)))
}

async fn serve(client: TcpStream, acceptor: Option<TlsAcceptor>, script: &Script) -> Option<String> {
    match acceptor {
        None => play(client, script).await,
        // A client that does not like the certificate says so by leaving.
        Some(acceptor) => match acceptor.accept(client).await {
            Ok(secured) => play(secured, script).await,
            Err(_) => None,
        },
    }
}

/// Plays the script; what was said instead of what it expects, if anything was.
async fn play(stream: impl AsyncRead + AsyncWrite, script: &Script) -> Option<String> {
    let (from, mut to) = tokio::io::split(stream);
    let mut from = BufReader::new(from);
    let unexpected = play_steps(&mut from, &mut to, script).await;
    // What the client still has to say is heard, so that it gets to hear what was said to it.
    let _ = to.shutdown().await;
    let _ = timeout(PATIENCE, from.read_to_end(&mut Vec::new())).await;
    unexpected
}

async fn play_steps<S: AsyncRead + AsyncWrite>(
    from: &mut BufReader<ReadHalf<S>>,
    to: &mut WriteHalf<S>,
    script: &Script,
) -> Option<String> {
    let mut tag = String::new();
    for step in &script.0 {
        match step {
            Step::Hear(words) => {
                let mut line = Vec::new();
                let heard = timeout(PATIENCE, from.read_until(b'\n', &mut line)).await;
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !matches!(heard, Ok(Ok(1..))) || !line.contains(words.as_str()) {
                    return Some(format!("{line:?} instead of {words:?}"));
                }
                // What continues a command has no tag, and no blank.
                if let Some((first, _)) = line.split_once(' ') {
                    first.clone_into(&mut tag);
                }
            }
            Step::HearTo(last) => {
                let mut line = Vec::new();
                while String::from_utf8_lossy(&line).trim_end() != *last {
                    line.clear();
                    let heard = timeout(PATIENCE, from.read_until(b'\n', &mut line)).await;
                    if !matches!(heard, Ok(Ok(1..))) {
                        return Some(format!("the end instead of {last:?}"));
                    }
                }
            }
            Step::Say(bytes) => {
                let said = match bytes.strip_prefix(b"$") {
                    Some(rest) => [tag.as_bytes(), rest].concat(),
                    None => bytes.clone(),
                };
                // A client that has heard enough hangs up.
                if to.write_all(&said).await.is_err() || to.flush().await.is_err() {
                    return None;
                }
            }
        }
    }
    None
}
