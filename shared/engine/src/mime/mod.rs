//! Messages as records: reading what arrived, cleaning its HTML, composing what is sent.

mod apart;
mod bodies;
mod bounds;
mod charset;
mod clean;
mod compose;
mod dates;
mod encoded_words;
mod ids;
mod mend;
mod notice;
mod people;
mod read;
mod structure;

pub use apart::{Apart, Attached, message_id, with_blind_copies};
pub use clean::{beginning, clean_html};
pub use compose::{Composition, compose, dated, wire_form};
pub use notice::rendered;
pub use read::{ReadMessage, Unreadable, clues, read};

/// Media type of a raw message (RFC 2046, section 5.2.1).
pub const MESSAGE_TYPE: &str = "message/rfc822";
