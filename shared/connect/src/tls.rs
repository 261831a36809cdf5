//! The failure of a TLS handshake: its cause, and what was seen, in words of certificates in place of names in code.

use mailrail_domain::{
    Timestamp,
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use rustls::{CertificateError, Error};
use rustls_pki_types::UnixTime;

/// The failure of a handshake, from the library's error.
pub(crate) fn failure(error: &Error) -> DeliveryError {
    let (cause, words) = match error {
        Error::InvalidCertificate(why) => (Cause::CertificateRefused, refused(why)),
        Error::NoCertificatesPresented => (Cause::CertificateRefused, "the server shows no certificate".to_owned()),
        _ => (Cause::HandshakeFailed, error.to_string()),
    };
    DeliveryError::new(cause, Evidence::new(Stage::Tls, &words))
}

/// Why a certificate is refused.
fn refused(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "the certificate is signed by an authority that this deployment does not know".to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => format!("the certificate expired on {}", day(*not_after)),
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is valid only from {}", day(*not_before))
        }
        CertificateError::NotValidYet => "the certificate is not valid yet".to_owned(),
        CertificateError::Revoked => "the certificate was revoked by its authority".to_owned(),
        CertificateError::BadSignature => "the signature of the certificate is wrong".to_owned(),
        CertificateError::BadEncoding => "the certificate cannot be read".to_owned(),
        CertificateError::NotValidForName => "the certificate is for another name".to_owned(),
        // The library's own words tell the names, or the purposes, that the certificate has.
        CertificateError::NotValidForNameContext { .. } | CertificateError::InvalidPurposeContext { .. } => {
            why.to_string()
        }
        CertificateError::Other(other) => match other.0.to_string().as_str() {
            // The name that the library webpki gives to a certificate that stands for itself.
            "CaUsedAsEndEntity" => {
                "the server shows the certificate of an authority as its own, which is how self-signed certificates are often made".to_owned()
            }
            name => format!("the certificate is refused: {}", spaced(name)),
        },
        other => format!("the certificate is refused: {}", spaced(&format!("{other:?}"))),
    }
}

/// The day of a moment in a certificate.
fn day(at: UnixTime) -> String {
    let at = i64::try_from(at.as_secs()).ok().and_then(|seconds| Timestamp::from_timestamp(seconds, 0));
    at.map_or_else(|| "a day that no calendar has".to_owned(), |at| at.format("%Y-%m-%d").to_string())
}

/// A name of the library in words: `UnhandledCriticalExtension` is "unhandled critical extension". What a name holds is
/// left out.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use std::{error, fmt, sync::Arc, time::Duration};

    use rustls::OtherError;

    use super::*;

    #[derive(Debug)]
    struct Named(&'static str);

    impl fmt::Display for Named {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl error::Error for Named {}

    fn other(name: &'static str) -> CertificateError {
        CertificateError::Other(OtherError(Arc::new(Named(name))))
    }

    #[test]
    fn a_refused_certificate_is_told_in_words() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        for (why, words) in [
            (CertificateError::UnknownIssuer, "an authority that this deployment does not know"),
            (
                CertificateError::ExpiredContext { time: at(1_700_100_000), not_after: at(1_700_000_000) },
                "the certificate expired on 2023-11-14",
            ),
            (
                CertificateError::NotValidYetContext { time: at(1_600_000_000), not_before: at(1_700_000_000) },
                "valid only from 2023-11-14",
            ),
            (CertificateError::ExpiredContext { time: at(0), not_after: at(u64::MAX) }, "a day that no calendar has"),
            (other("CaUsedAsEndEntity"), "self-signed"),
            (other("ExtensionValueInvalid"), "refused: extension value invalid"),
            (CertificateError::UnhandledCriticalExtension, "refused: unhandled critical extension"),
            (CertificateError::InvalidOcspResponse, "refused: invalid ocsp response"),
        ] {
            let told = failure(&Error::InvalidCertificate(why));
            assert_eq!((told.cause, told.evidence.stage), (Cause::CertificateRefused, Stage::Tls));
            assert!(told.evidence.words.contains(words), "{:?}", told.evidence.words);
        }
        let told = failure(&Error::DecryptError);
        assert_eq!(told.cause, Cause::HandshakeFailed);
    }
}
