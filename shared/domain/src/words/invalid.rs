//! A value that somebody gave us and that cannot be used: which field, what is wrong, what to do.

/// One refused value. Shown to the person who gave it, so it holds no secret and repeats the value only shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}. {remedy}")]
pub struct Invalid {
    /// Path of the field, in the words of the API (`incoming.port`).
    pub field: String,
    /// What is wrong with the value.
    pub problem: String,
    /// What would be accepted.
    pub remedy: String,
}

impl Invalid {
    /// A refusal of `field`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// The same refusal seen from the object that holds the field: `port` of `incoming` is `incoming.port`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

/// Longest excerpt of a refused value that an error repeats.
const EXCERPT_CHARS_MAX: usize = 60;

/// A refused value, shortened and with control characters made visible, for an error message.
#[must_use]
pub fn excerpt(value: &str) -> String {
    let mut shown: String = value.chars().take(EXCERPT_CHARS_MAX).flat_map(char::escape_debug).collect();
    if value.chars().nth(EXCERPT_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_shows_control_characters() {
        assert_eq!(excerpt("a\r\nb"), "a\\r\\nb");
        assert_eq!(excerpt(&"x".repeat(100)).chars().count(), EXCERPT_CHARS_MAX + 1);
    }

    #[test]
    fn a_field_is_named_by_its_whole_path() {
        let refusal = Invalid::new("port", "0 is not a port", "Use 1 to 65535").within("incoming");
        assert_eq!(refusal.to_string(), "incoming.port: 0 is not a port. Use 1 to 65535");
    }
}
