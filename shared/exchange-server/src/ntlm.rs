//! NTLMv2 over HTTP: the messages of the handshake, with integrity and channel binding (Extended Protection).
//!
//! Sources: MS-NLMP sections 2.2.1, 3.1.5 and 3.3.2; MS-NTHT; RFC 5929 section 4 for the binding. The protocol needs
//! MD4 and MD5. A deployment that demands validated cryptography refuses NTLM when the profile is saved.

use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest as _, Md4};
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_parser::{
    oid_registry::{
        OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512,
    },
    parse_x509_certificate,
};

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// Longest message of a server that is read, in bytes: with the names of a forest it has some hundred bytes.
const CHALLENGE_BYTES_MAX: usize = 16 * 1024;
/// Bytes before the payload of the last message: fields, version and integrity code.
const AUTHENTICATE_HEAD_BYTES: usize = 88;
/// Where the integrity code stands in the last message.
const MIC_AT: usize = 72;

const UNICODE: u32 = 0x0000_0001;
const REQUEST_TARGET: u32 = 0x0000_0004;
const NTLM: u32 = 0x0000_0200;
const ALWAYS_SIGN: u32 = 0x0000_8000;
const EXTENDED_SESSION_SECURITY: u32 = 0x0008_0000;
const TARGET_INFO: u32 = 0x0080_0000;
const VERSION: u32 = 0x0200_0000;
const KEY_128: u32 = 0x2000_0000;
const FLAGS: u32 =
    UNICODE | REQUEST_TARGET | NTLM | ALWAYS_SIGN | EXTENDED_SESSION_SECURITY | TARGET_INFO | VERSION | KEY_128;
/// Windows 10 with the protocol's revision 15, as section 2.2.2.10 lays it out; servers only log it.
const OUR_VERSION: [u8; 8] = [10, 0, 0x61, 0x4a, 0, 0, 0, 15];

/// Names of the pairs of a challenge (section 2.2.2.1).
const AV_END: u16 = 0;
const AV_FLAGS: u16 = 6;
const AV_TIMESTAMP: u16 = 7;
const AV_TARGET_NAME: u16 = 9;
const AV_CHANNEL_BINDINGS: u16 = 10;
/// The flag that says that the message has an integrity code.
const AV_FLAG_INTEGRITY: u32 = 0x0000_0002;

/// The first message.
pub(crate) fn negotiate() -> Vec<u8> {
    let mut message = Vec::with_capacity(40);
    message.extend_from_slice(SIGNATURE);
    message.extend_from_slice(&1_u32.to_le_bytes());
    message.extend_from_slice(&FLAGS.to_le_bytes());
    message.extend_from_slice(&[0; 16]);
    message.extend_from_slice(&OUR_VERSION);
    message
}

/// Who signs in.
pub(crate) struct Account<'a> {
    /// `user@example.com` or `DOMAIN\user`.
    pub username: &'a str,
    pub password: &'a str,
}

/// What the last message is bound to.
pub(crate) struct Binding<'a> {
    /// The host of the URL.
    pub host: &'a str,
    /// The certificate of the connection, as DER.
    pub certificate: Option<&'a [u8]>,
    /// Eight random bytes.
    pub nonce: [u8; 8],
    /// The time as 100 ns since 1601, for servers that do not send their own time.
    pub filetime: u64,
}

/// A server's message.
#[derive(Debug, PartialEq, Eq)]
struct Challenge<'a> {
    flags: u32,
    nonce: [u8; 8],
    pairs: Vec<(u16, &'a [u8])>,
}

impl<'a> Challenge<'a> {
    /// Reads a server's message; `None` if it is not a challenge of NTLM.
    fn parse(message: &'a [u8]) -> Option<Self> {
        if message.len() > CHALLENGE_BYTES_MAX || !message.starts_with(SIGNATURE) || word(message, 8)? != 2 {
            return None;
        }
        let nonce = message.get(24..32)?.try_into().ok()?;
        // Old servers send no information about themselves.
        let info = if message.len() >= 48 { field(message, 40)? } else { &[] };
        Some(Self { flags: word(message, 20)?, nonce, pairs: pairs(info)? })
    }

    fn pair(&self, name: u16) -> Option<&'a [u8]> {
        self.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

fn word(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(message.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn half(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(message.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// What a field points to: length, room, offset.
fn field(message: &[u8], at: usize) -> Option<&[u8]> {
    let (length, offset) = (usize::from(half(message, at)?), usize::try_from(word(message, at + 4)?).ok()?);
    if length == 0 { Some(&[]) } else { message.get(offset..offset.checked_add(length)?) }
}

fn pairs(mut info: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut pairs = Vec::new();
    while !info.is_empty() {
        let (name, length) = (half(info, 0)?, usize::from(half(info, 2)?));
        if name == AV_END {
            break;
        }
        pairs.push((name, info.get(4..4 + length)?));
        info = info.get(4 + length..)?;
    }
    Some(pairs)
}

/// The last message, in answer to the server's message. `None` if the server's message is not a challenge of NTLM.
pub(crate) fn authenticate(challenge: &[u8], account: &Account<'_>, binding: &Binding<'_>) -> Option<Vec<u8>> {
    let parsed = Challenge::parse(challenge)?;
    let (domain, user) = account.username.split_once('\\').unwrap_or(("", account.username));
    let key = response_key(user, domain, account.password);
    let timestamp = parsed.pair(AV_TIMESTAMP).and_then(|time| <[u8; 8]>::try_from(time).ok());
    let info = our_pairs(&parsed, binding, timestamp.is_some());
    let time = timestamp.unwrap_or_else(|| binding.filetime.to_le_bytes());
    let (proof, response) = response(&key, &parsed.nonce, &binding.nonce, time, &info);
    // A server that gives its time wants no answer to the older challenge (section 3.1.5.1.2).
    let older = if timestamp.is_some() { vec![0; 24] } else { older_response(&key, &parsed.nonce, &binding.nonce) };
    let mut message = Vec::with_capacity(AUTHENTICATE_HEAD_BYTES + response.len() + 256);
    message.extend_from_slice(SIGNATURE);
    message.extend_from_slice(&3_u32.to_le_bytes());
    let mut payload = Vec::new();
    for part in [&older[..], &response, &utf16(domain), &utf16(user), &[], &[]] {
        let length = u16::try_from(part.len()).ok()?;
        let offset = u32::try_from(AUTHENTICATE_HEAD_BYTES + payload.len()).ok()?;
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(&offset.to_le_bytes());
        payload.extend_from_slice(part);
    }
    message.extend_from_slice(&(parsed.flags & FLAGS).to_le_bytes());
    message.extend_from_slice(&OUR_VERSION);
    message.extend_from_slice(&[0; 16]);
    message.extend_from_slice(&payload);
    if timestamp.is_some() {
        let session_key = mac(&key, &[&proof]);
        let integrity = mac(&session_key, &[&negotiate(), challenge, &message]);
        message.get_mut(MIC_AT..MIC_AT + integrity.len())?.copy_from_slice(&integrity);
    }
    Some(message)
}

/// The server's pairs with our own: what the answer is bound to, and that it has an integrity code.
fn our_pairs(challenge: &Challenge<'_>, binding: &Binding<'_>, with_integrity: bool) -> Vec<u8> {
    let mut info = Vec::new();
    let mut put = |name: u16, value: &[u8]| {
        info.extend_from_slice(&name.to_le_bytes());
        info.extend_from_slice(&u16::try_from(value.len()).unwrap_or_default().to_le_bytes());
        info.extend_from_slice(value);
    };
    let ours = [AV_FLAGS, AV_TARGET_NAME, AV_CHANNEL_BINDINGS];
    for (name, value) in challenge.pairs.iter().filter(|(name, _)| !ours.contains(name)) {
        put(*name, value);
    }
    let flags = challenge.pair(AV_FLAGS).and_then(|flags| word(flags, 0)).unwrap_or_default();
    let flags = if with_integrity { flags | AV_FLAG_INTEGRITY } else { flags };
    if flags != 0 {
        put(AV_FLAGS, &flags.to_le_bytes());
    }
    put(AV_TARGET_NAME, &utf16(&format!("HTTP/{}", binding.host)));
    put(AV_CHANNEL_BINDINGS, &binding.certificate.and_then(channel_binding).unwrap_or_default());
    put(AV_END, &[]);
    info
}

/// The digest of the connection's certificate, as `gss_channel_bindings_struct` is digested (section 3.1.5.1.2).
fn channel_binding(certificate: &[u8]) -> Option<[u8; 16]> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let algorithm = &parsed.signature_algorithm.algorithm;
    // RFC 5929 section 4.1: the hash of the certificate's own signature, but SHA-256 in place of MD5 and SHA-1.
    let hash = if [OID_PKCS1_SHA384WITHRSA, OID_SIG_ECDSA_WITH_SHA384].contains(algorithm) {
        Sha384::digest(certificate).to_vec()
    } else if [OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA512].contains(algorithm) {
        Sha512::digest(certificate).to_vec()
    } else {
        Sha256::digest(certificate).to_vec()
    };
    let data = [b"tls-server-end-point:", &hash[..]].concat();
    let mut bindings = vec![0; 16];
    bindings.extend_from_slice(&u32::try_from(data.len()).ok()?.to_le_bytes());
    bindings.extend_from_slice(&data);
    Some(Md5::digest(&bindings).into())
}

/// NTOWFv2 (section 3.3.2).
fn response_key(user: &str, domain: &str, password: &str) -> [u8; 16] {
    // Windows maps one character to one character. A character that Unicode would map to two stays as it is.
    let upper = |c: char| Some(c.to_uppercase()).filter(|upper| upper.len() == 1).and_then(|mut upper| upper.next());
    let user: String = user.chars().map(|c| upper(c).unwrap_or(c)).collect();
    let whom = format!("{user}{domain}");
    mac(&Md4::digest(utf16(password)), &[&utf16(&whom)])
}

/// The proof, and the whole response that begins with it (section 3.3.2).
fn response(key: &[u8; 16], challenge: &[u8; 8], nonce: &[u8; 8], time: [u8; 8], info: &[u8]) -> ([u8; 16], Vec<u8>) {
    let said = [&[1, 1, 0, 0, 0, 0, 0, 0][..], &time, nonce, &[0; 4], info, &[0; 4]].concat();
    let proof = mac(key, &[challenge, &said]);
    (proof, [&proof[..], &said].concat())
}

/// LMv2 (section 3.3.2).
fn older_response(key: &[u8; 16], challenge: &[u8; 8], nonce: &[u8; 8]) -> Vec<u8> {
    [&mac(key, &[challenge, nonce])[..], nonce].concat()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else {
        return [0; 16];
    };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};

    use super::*;

    const SERVER_NONCE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    const NONCE: [u8; 8] = [0xaa; 8];

    fn hex(bytes: &[u8]) -> String {
        mailrail_domain::words::hex::hex(bytes)
    }

    fn info() -> Vec<u8> {
        let mut info = Vec::new();
        for (name, value) in [(2_u16, "Domain"), (1, "Server")] {
            info.extend_from_slice(&name.to_le_bytes());
            info.extend_from_slice(&12_u16.to_le_bytes());
            info.extend_from_slice(&utf16(value));
        }
        info.extend_from_slice(&[0; 4]);
        info
    }

    fn challenge(info: &[u8]) -> Vec<u8> {
        let mut message = [&SIGNATURE[..], &2_u32.to_le_bytes(), &[0; 8], &FLAGS.to_le_bytes(), &SERVER_NONCE].concat();
        message.extend_from_slice(&[0; 8]);
        let length = u16::try_from(info.len()).unwrap().to_le_bytes();
        message.extend_from_slice(&[length, length].concat());
        message.extend_from_slice(&56_u32.to_le_bytes());
        message.extend_from_slice(&OUR_VERSION);
        message.extend_from_slice(info);
        message
    }

    fn signed_in(challenge: &[u8]) -> Option<Vec<u8>> {
        let account = Account { username: "Domain\\User", password: "Password" };
        let binding = Binding { host: "mail.example.org", certificate: None, nonce: NONCE, filetime: 0 };
        authenticate(challenge, &account, &binding)
    }

    /// MS-NLMP section 4.2.4.
    #[test]
    fn the_published_example_comes_out() {
        let key = response_key("User", "Domain", "Password");
        assert_eq!(hex(&key), "0c868a403bfd7a93a3001ef22ef02e3f");
        let (proof, _) = response(&key, &SERVER_NONCE, &NONCE, [0; 8], &info());
        assert_eq!(hex(&proof), "68cd0ab851e51c96aabc927bebef6a1c");
        assert_eq!(hex(&mac(&key, &[&proof])), "8de40ccadbc14a82f15cb0ad0de95ca3");
        let older = older_response(&key, &SERVER_NONCE, &NONCE);
        assert_eq!(hex(&older), "86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa");
    }

    #[test]
    fn a_server_that_gives_its_time_gets_an_integrity_code_and_no_older_response() {
        let timed = [&AV_TIMESTAMP.to_le_bytes()[..], &8_u16.to_le_bytes(), &[7; 8], &info()].concat();
        let message = signed_in(&challenge(&timed)).unwrap();
        assert_eq!(field(&message, 12).unwrap(), [0; 24]);
        assert_ne!(message[MIC_AT..MIC_AT + 16], [0; 16]);
        let (user, domain) = (field(&message, 36).unwrap(), field(&message, 28).unwrap());
        assert_eq!((user, domain), (&utf16("User")[..], &utf16("Domain")[..]));
        let untimed = signed_in(&challenge(&info())).unwrap();
        assert_eq!(untimed[MIC_AT..MIC_AT + 16], [0; 16]);
        assert_ne!(field(&untimed, 12).unwrap(), [0; 24]);
    }

    #[test]
    fn the_binding_is_of_the_certificates_own_hash() {
        let of = |algorithm| {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let certificate = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
            certificate.der().to_vec()
        };
        let expected = |hash: &[u8]| {
            let data = [b"tls-server-end-point:", hash].concat();
            let length = u32::try_from(data.len()).unwrap().to_le_bytes();
            <[u8; 16]>::from(Md5::digest([&[0; 16][..], &length, &data].concat()))
        };
        let (p256, p384) = (of(&PKCS_ECDSA_P256_SHA256), of(&PKCS_ECDSA_P384_SHA384));
        assert_eq!(channel_binding(&p256), Some(expected(&Sha256::digest(&p256))));
        assert_eq!(channel_binding(&p384), Some(expected(&Sha384::digest(&p384))));
        assert_eq!(channel_binding(b"no certificate"), None);
    }

    #[test]
    fn whatever_a_server_sends_is_read_without_a_panic() {
        let whole = challenge(&info());
        for end in 0..whole.len() {
            let _ = signed_in(&whole[..end]);
        }
        for at in 0..whole.len() {
            for value in [0x00, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                let _ = signed_in(&changed);
            }
        }
        assert_eq!(signed_in(b""), None);
        assert_eq!(signed_in(&negotiate()), None);
        assert_eq!(signed_in(&[&whole[..], &vec![0; CHALLENGE_BYTES_MAX]].concat()), None);
    }
}
