//! Transactions of a producer (KIP-98, KIP-360, KIP-890): states, the coordinator's answers, the
//! dialogue with it.
//!
//! 1. One operation at a time. One that nobody has heard the end of is the only one that may be
//!    asked for: a commit of unknown outcome is asked again, and nothing begins on it.
//! 2. A commit asks only when every record of the transaction is acknowledged. One failed record
//!    leaves the abort as the only way on.
//! 3. An end asks only when nothing of the transaction is in flight, and asks again under the same
//!    producer id and epoch until it is answered.
//! 4. Producer id and epoch are what the coordinator answered, never counted up here: sequences go
//!    by them, so those of idle partitions begin anew as well (KAFKA-12152, KAFKA-19367).
//! 5. Version 2 counts for a whole transaction: chosen at its begin, by what the coordinator's
//!    broker said.
//!
//! Reading order: `state` (the table), `question` (what is asked and answered), `verdict` (what an
//! answer means), `dialogue` (what is asked next), `desk` (where callers wait), `error`. The sender
//! holds the dialogue and drives it.

mod desk;
mod dialogue;
mod error;
mod question;
mod state;
mod verdict;

pub use desk::{DeskAnswer, SettledOperation, TransactionCommand, TransactionDesk};
pub(crate) use dialogue::{Applied, Dialogue, Renewal, Turn};
pub use error::{
    AbortCause, TransactionError, TransactionErrorKind, TransactionProgress, TransactionStage,
};
pub use question::{
    AskedBroker, Capabilities, CommittedOffset, ConsumerGroupMetadata, CoordinatorKey,
    GroupOffsets, Question, QuestionId, TransactionAnswer, TransactionQuestion, TransactionReply,
    TransactionVersion,
};
pub use state::{TransactionEvent, TransactionOperation, TransactionState};
pub use verdict::{TransactionApi, TransactionContext, TransactionVerdict, judge_transaction};
