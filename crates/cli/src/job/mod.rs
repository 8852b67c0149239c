//! Jobs of `ingest`: what was taken of which file, kept in a compacted topic of the cluster itself,
//! in the same transaction as the rows. So the rows of a file and the word that they are there
//! can't come apart, whatever dies when.

mod progress;
mod progress_topic;
mod stance;

pub use progress::{FileProgress, OLDER_MAX, ProgressKey, Rotation};
pub use progress_topic::{TOPIC, ensure, forget, read};
pub use stance::{Changed, FileNow, Stance, stance};

/// The `transactional.id` of a job's producer: of two runs of a job the later fences the earlier.
pub fn transactional_id(job: &str) -> String {
    format!("streamledger-ingest-{job}")
}
