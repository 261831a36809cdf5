//! Bytes as hexadecimal digits.

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first bytes of a digest, as lower-case hexadecimal.
#[must_use]
pub fn hex_of_first(bytes: usize, digest: &[u8]) -> String {
    hex(digest.get(..bytes).unwrap_or(digest))
}
