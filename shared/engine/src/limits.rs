//! The bounds of every loop, page, batch, wait and buffer of the use cases, each with its reason.

use std::time::Duration;

/// Mailboxes of one batch that run side by side. A batch from SQS has ten.
pub const MAILBOXES_AT_ONCE: usize = 10;
/// Messages of one mailbox that are being stored at once: hides the latency of table and bucket behind the server's.
pub const STORES_AT_ONCE: usize = 8;
/// Messages after which a mailbox's position is written, so that a crash repeats at most this many.
pub const PAGE_MESSAGES: usize = 100;
/// Messages of one mailbox in one run; what is left is fetched by the next run, so that one mailbox's first
/// synchronization cannot hold a batch for long.
pub const RUN_MESSAGES_MAX: usize = 5_000;
/// Emails of one mailbox that are sent in one run (source system: 10 per user).
pub const SENDS_PER_RUN: usize = 10;
/// Emails of an outbox that are looked at in one page.
pub const OUTBOX_PAGE: usize = 100;
/// Pages of an outbox that are looked through for emails that are due: those that wait for a greylisting to pass must
/// not hold up the ones behind them.
pub const OUTBOX_PAGES_MAX: usize = 20;
/// Mailboxes of a profile that are looked at for tests in one step.
pub const TRIALS_PAGE: usize = 100;
/// Times that a test message is looked for. Mail to oneself arrives within seconds, or is held up for longer than anybody
/// would wait.
pub const ARRIVAL_LOOKS_MAX: usize = 25;
/// Wait between two such looks.
pub const ARRIVAL_WAIT: Duration = Duration::from_secs(2);
/// A test of a mailbox that is being synchronized is put back for so long.
pub const TRIAL_BUSY_SECONDS: u32 = 15;
/// A wake after a change waits this long, so that the run reads the table as it was changed.
pub(crate) const WAKE_DELAY_SECONDS: u32 = 1;
/// Times that what a person waits for is written again when something else of the delivery was written meanwhile.
pub const DELIVERY_WRITES_MAX: usize = 5;
/// Times that what a run says of a profile's servers is written again when another run wrote meanwhile.
pub const HEALTH_WRITES_MAX: usize = 5;
/// Pending notices that are looked through for those that are one digest.
pub const NOTICES_PENDING_MAX: usize = 5_000;
/// Notices that are marked at once, where a digest was sent for many.
pub const NOTICES_AT_ONCE: usize = 16;
/// Records, or messages in quarantine, that are looked through in one page for a missing message.
pub const LOOKUP_PAGE: usize = 100;
/// Pages of records that are looked through: the newest thousand.
pub const LOOKUP_PAGES_MAX: usize = 10;
/// Pages of a mailbox's quarantine that are looked through: ten thousand messages.
pub(crate) const QUARANTINE_PAGES_MAX: usize = 100;
/// Messages that were passed over and that one run asks for again.
pub(crate) const ASKED_AGAIN_MAX: usize = 20;
/// Open alerts that are looked through for profiles that fail.
pub const OPEN_ALERTS_MAX: usize = 20_000;
/// Mailboxes of a profile that are looked at when it is asked how they stand.
pub const STANDING_MAILBOXES_MAX: usize = 20_000;
/// Mailboxes of a profile that are looked through for one that still fails, when another of them works again.
pub const REFERENCES_AT_ONCE_MAX: usize = 25;
/// Notices that one run of `notify-owners` sends.
pub const NOTICES_PER_RUN: usize = 100;
/// Entries of the schedule that are read in one page.
pub const DUE_PAGE: usize = 1_000;
/// Pages of one slot of the schedule in one tick: a million deliveries.
pub const DUE_PAGES_MAX: usize = 1_000;
/// Messages in one batch to the queue (SQS: 10).
pub const QUEUE_BATCH: usize = 10;
/// Batches to the queue that are under way at once.
pub const QUEUE_BATCHES_AT_ONCE: usize = 16;
/// Longest delay of a queue message, in seconds (SQS: 900). Longer waits live in the row alone.
pub const QUEUE_DELAY_SECONDS_MAX: u32 = 900;
/// No mailbox is begun, and no further page fetched, when less than this is left of the invocation.
pub const DEADLINE_MARGIN: Duration = Duration::from_secs(10);
/// A run that has not ended when this much of the invocation is left is given up, so that the batch can be answered for
/// the other mailboxes.
pub const GIVE_UP_MARGIN: Duration = Duration::from_secs(2);
/// A lease outlives the invocation by this much, so that it never ends under a run that is still alive.
pub const LEASE_MARGIN: Duration = Duration::from_secs(30);
/// A mailbox whose profile has no connection free is looked at again after this long.
pub const CONNECTIONS_BUSY_SECONDS: u32 = 15;
/// Largest message that is read into memory whole, so that its parts can be taken out.
pub const WHOLE_MESSAGE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Largest message that becomes a record (source system: 150 MB). Larger ones go to quarantine, streamed.
pub const MESSAGE_BYTES_MAX: u64 = 150 * 1024 * 1024;
/// Content in memory at once over all mailboxes of a function: one largest message and some ordinary ones.
pub const MEMORY_BUDGET_BYTES: u64 = WHOLE_MESSAGE_BYTES_MAX + 8 * 1024 * 1024;
/// Messages up to this size are not counted against the budget, because other limits bound their number.
pub const UNCOUNTED_BYTES: u64 = 64 * 1024;
/// The size that is assumed for a message if nothing says its size.
pub const UNKNOWN_SIZE_BYTES: u64 = 1024 * 1024;
/// Size of the pieces of a message that is streamed (S3: at least 5 MiB for a part that is not the last).
pub const CHUNK_BYTES: usize = 5 * 1024 * 1024;
/// HTML that is read for a preview, with styles, programs and images that are left out.
pub const HTML_READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// HTML that is cleaned for a preview.
pub const HTML_INPUT_BYTES_MAX: usize = 65_536;
/// Largest object that is read back whole: an outgoing message.
pub const OUTGOING_BYTES_MAX: u64 = 35 * 1024 * 1024;
/// Largest notes that are kept of a mailbox, in bytes: the UIDLs of a million messages.
pub const NOTES_BYTES_MAX: u64 = 16 * 1024 * 1024;
