//! Before the first row is sent: what was ingested of each file, and whether it still is that file.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::follow::Followed;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::input::planned::PlannedFile;
use crate::input::{InputPlan, ReadFault, RecordSource, ResumeFault, discovery, file};
use crate::job::{Changed, FileNow, FileProgress, ProgressKey, Stance, stance};
use crate::ui::units;

/// So many files that nothing is to be done about are told one by one; more in one sentence.
const TOLD_MAX: usize = 5;

/// One file of a run.
#[derive(Debug)]
pub(super) struct FeedFile<'a> {
    /// How it is read.
    pub(super) plan: &'a InputPlan,
    pub(super) file: &'a PlannedFile,
    /// Its rows, if some were read before: they begin after those.
    pub(super) source: Option<Box<dyn RecordSource>>,
    /// What is kept of it, if rows are to be there exactly once.
    pub(super) kept: Option<KeptFile>,
    /// What is known of it, if it is followed.
    pub(super) followed: Option<Followed>,
}

/// What is kept of a file, and what it looked like when the run began.
#[derive(Debug)]
pub(super) struct KeptFile {
    pub(super) key: ProgressKey,
    /// The key that a release before this kept it under, if that isn't forgotten yet.
    pub(super) replaces: Option<ProgressKey>,
    pub(super) progress: FileProgress,
    /// Nothing is left to send.
    pub(super) is_done: bool,
    /// Rows that were ingested by runs before.
    pub(super) rows_before: u64,
    /// None of a file that is followed: that is looked at otherwise.
    look: Option<Look>,
    may_grow: bool,
}

/// What tells that a file was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    file_bytes: u64,
    modified: Option<SystemTime>,
}

impl Look {
    fn at(path: &Path) -> Outcome<Look> {
        let looked = |metadata: Metadata| Look {
            file_bytes: metadata.len(),
            modified: metadata.modified().ok(),
        };
        fs::metadata(path).map(looked).map_err(|error| {
            Failure::new(Exit::BadInput, format!("{} is gone", path.display()))
                .because(&error)
                .remedy("put it back and run the same command again")
                .into()
        })
    }
}

/// Where the rows of a run are to go, and under which name that is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destination<'a> {
    pub(super) job: &'a str,
    pub(super) topic: &'a str,
    pub(super) topic_id: &'a str,
    pub(super) may_grow: bool,
    /// Whether the last file is followed, and prepared by who follows it.
    pub(super) is_last_followed: bool,
    /// How many partitions the topic has.
    pub(super) partitions: i32,
}

impl Destination<'_> {
    /// The key of what is kept of a file.
    pub(super) fn key(&self, file: &PlannedFile) -> ProgressKey {
        let whole_path = file.path.canonicalize().unwrap_or_else(|_| whole(&file.path));
        ProgressKey::of(self.job, &whole_path)
    }
}

/// What is kept of a file, and the key that it is kept under if that isn't the file's own: one of a
/// release that knew paths as text only. That may be another file's whose path is the same text;
/// if that one isn't there, what the file holds tells.
pub(super) fn kept_of<'a>(
    key: &ProgressKey,
    progress: &'a BTreeMap<ProgressKey, FileProgress>,
) -> Option<(&'a FileProgress, Option<ProgressKey>)> {
    if let Some(kept) = progress.get(key) {
        return Some((kept, None));
    }
    let text = key.as_text()?;
    let kept = progress.get(&text)?;
    fs::symlink_metadata(text.path()).is_err().then_some((kept, Some(text)))
}

/// The whole path of a file that isn't there.
fn whole(path: &Path) -> PathBuf {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new(".")).canonicalize();
    let name = path.file_name().unwrap_or_default();
    directory.map_or_else(|_| path.to_owned(), |directory| directory.join(name))
}

/// All files, each at its start.
pub(super) fn from_the_start(plan: &InputPlan) -> Vec<FeedFile<'_>> {
    let at_start = |file| FeedFile { plan, file, source: None, kept: None, followed: None };
    plan.files.iter().map(at_start).collect()
}

/// Has the rows of files that were begun before become records as those before did.
pub(super) fn keep_types(
    plan: &mut InputPlan,
    to: Destination<'_>,
    progress: &BTreeMap<ProgressKey, FileProgress>,
) {
    for index in 0..plan.files.len() {
        let kept = kept_of(&to.key(&plan.files[index]), progress).map(|(kept, _)| kept);
        if let Some(kept) = kept.filter(|kept| kept.has_row()) {
            plan.keep_types(index, &kept.shape);
        }
    }
}

/// Of each file, whether rows of it may be left to be sent, as what was kept of it says.
pub(super) fn are_left(
    plan: &InputPlan,
    to: Destination<'_>,
    progress: &BTreeMap<ProgressKey, FileProgress>,
) -> Vec<bool> {
    let is_left = |file: &PlannedFile| {
        let kept = kept_of(&to.key(file), progress);
        let (Some((kept, None)), Ok(look)) = (kept, Look::at(&file.path)) else { return true };
        let now = FileNow {
            topic: to.topic,
            topic_id: to.topic_id,
            // Rows that were sent are what they are.
            shape: &kept.shape,
            file_bytes: look.file_bytes,
            may_grow: to.may_grow,
            can_grow: file.can_grow(),
        };
        !matches!(stance(Some(kept), &now), Ok(Stance::Done(_)))
    };
    let mut are_left: Vec<bool> = plan.files.iter().map(is_left).collect();
    if let Some(followed) = are_left.last_mut().filter(|_| to.is_last_followed) {
        *followed = true;
    }
    are_left
}

/// That no file has rows left of which none were: it changed meanwhile.
pub(super) fn check_left(files: &[FeedFile<'_>], are_left: &[bool]) -> Outcome<()> {
    let is_done = |file: &FeedFile<'_>| file.kept.as_ref().is_some_and(|kept| kept.is_done);
    let changed = files.iter().zip(are_left).find(|(file, is_left)| !**is_left && !is_done(file));
    let Some((file, _)) = changed else { return Ok(()) };
    let name = file.file.path.display();
    Failure::new(Exit::BadInput, format!("{name} was written to while it was looked at"))
        .remedy("run the same command again")
        .err()
}

/// All files, each after what was ingested of it. A file that isn't what was ingested stops here.
pub(super) fn after_progress<'a>(
    plan: &'a InputPlan,
    to: Destination<'_>,
    progress: &BTreeMap<ProgressKey, FileProgress>,
) -> Outcome<Vec<FeedFile<'a>>> {
    let mut files: Vec<FeedFile<'a>> = Vec::with_capacity(plan.files.len());
    let count = plan.files.len() - usize::from(to.is_last_followed);
    for file in &plan.files[..count] {
        let taken = |text: &ProgressKey| {
            let kept = files.iter().filter_map(|other| other.kept.as_ref());
            kept.filter_map(|kept| kept.replaces.as_ref()).any(|replaced| replaced == text)
        };
        let prepared = prepare(plan, file, to, progress, taken)?;
        let is_same = |other: &FeedFile<'_>| {
            let keys = other.kept.as_ref().zip(prepared.kept.as_ref());
            keys.is_some_and(|(other, this)| other.key == this.key)
        };
        if files.iter().any(is_same) {
            return Failure::new(Exit::Usage, format!("{} is named twice", file.path.display()))
                .cause("each row of it is to be there exactly once")
                .remedy("name it once, or say --at-least-once")
                .err();
        }
        files.push(prepared);
    }
    Ok(files)
}

fn prepare<'a>(
    plan: &'a InputPlan,
    file: &'a PlannedFile,
    to: Destination<'_>,
    progress: &BTreeMap<ProgressKey, FileProgress>,
    is_taken: impl Fn(&ProgressKey) -> bool,
) -> Outcome<FeedFile<'a>> {
    let key = to.key(file);
    let is_free = |kept: &(_, Option<ProgressKey>)| !kept.1.as_ref().is_some_and(&is_taken);
    let kept = kept_of(&key, progress).filter(is_free);
    let (before, replaces) = kept.map_or((None, None), |(kept, text)| (Some(kept), text));
    let look = Look::at(&file.path)?;
    let shape = plan.shape(file);
    let now = FileNow {
        topic: to.topic,
        topic_id: to.topic_id,
        shape: &shape,
        file_bytes: look.file_bytes,
        may_grow: to.may_grow,
        can_grow: file.can_grow(),
    };
    let found = stance(before, &now).map_err(|changed| cannot_go_on(&file.path, &changed))?;
    let mut source = None;
    let mut is_done = false;
    if let Stance::Resume(position) | Stance::Done(position) = &found {
        let mut rows = plan.open_hashed(file)?;
        rows.resume(position).map_err(|fault| isnt_the_same(&file.path, fault))?;
        is_done = matches!(found, Stance::Done(_));
        source = (!is_done).then_some(rows);
    }
    let mut progress = match (before, &found) {
        (Some(before), Stance::Resume(_) | Stance::Done(_)) => before.clone(),
        _ => FileProgress::start(to.topic, to.topic_id, &shape, file.compression.name()),
    };
    progress.file_bytes = look.file_bytes;
    progress.complete = is_done;
    progress.partitions = if is_done { progress.partitions } else { Some(to.partitions) };
    let rows_before = progress.rows;
    let (look, may_grow) = (Some(look), to.may_grow && file.can_grow());
    let kept = Some(KeptFile { key, replaces, progress, is_done, rows_before, look, may_grow });
    Ok(FeedFile { plan, file, source, kept, followed: None })
}

/// What a person is told of files that aren't sent from their start.
pub(super) fn remarks(files: &[FeedFile<'_>]) -> Vec<String> {
    let is_done = |file: &FeedFile<'_>| file.kept.as_ref().is_some_and(|kept| kept.is_done);
    let done: Vec<&FeedFile<'_>> = files.iter().filter(|file| is_done(file)).collect();
    let mut remarks = Vec::new();
    if done.len() > TOLD_MAX {
        let rows = done.iter().filter_map(|file| file.kept.as_ref()).map(|kept| kept.rows_before);
        let (count, rows) = (units::grouped(done.len() as u64), units::grouped(rows.sum()));
        remarks.push(format!("{count} files: all their {rows} rows were ingested before"));
    }
    let is_told = |file: &&FeedFile<'_>| done.len() <= TOLD_MAX || !is_done(file);
    remarks.extend(files.iter().filter(is_told).filter_map(FeedFile::remark));
    remarks
}

/// What a person is told if the topic was given partitions since rows of the job were sent there.
pub(super) fn remark_on_partitions(
    to: Destination<'_>,
    progress: &BTreeMap<ProgressKey, FileProgress>,
    files: &[FeedFile<'_>],
) -> Option<String> {
    let is_left = |file: &FeedFile<'_>| file.kept.as_ref().is_some_and(|kept| !kept.is_done);
    let is_of_job = |(key, kept): &(&ProgressKey, &FileProgress)| {
        key.job == to.job && kept.topic == to.topic && kept.topic_id == to.topic_id
    };
    let before = progress.iter().filter(is_of_job).filter_map(|(_, kept)| kept.partitions);
    let before = before.filter(|before| *before != to.partitions).max()?;
    files.iter().any(is_left).then(|| {
        let Destination { topic, partitions, .. } = to;
        format!(
            "{topic} has {partitions} partitions now, and had {before} when rows of this job were \
             sent there:\nof a key, rows may be in another partition than those before"
        )
    })
}

/// What a person is told of files that were ingested, would be found again, and are gone.
pub(super) fn remarks_on_gone(
    to: Destination<'_>,
    progress: &BTreeMap<ProgressKey, FileProgress>,
    arguments: &[PathBuf],
    is_recursive: bool,
) -> Vec<String> {
    let is_gone = |key: &ProgressKey, kept: &FileProgress| {
        let path = key.path();
        key.job == to.job
            && kept.topic == to.topic
            && fs::symlink_metadata(&path).is_err()
            && discovery::would_find(arguments, is_recursive, &path)
    };
    let gone = progress.iter().filter(|(key, kept)| is_gone(key, kept));
    let (whole, parts): (Vec<_>, Vec<_>) = gone.partition(|(_, kept)| kept.complete);
    let mut remarks = Vec::new();
    if whole.len() > TOLD_MAX {
        let rows = units::grouped(whole.iter().map(|(_, kept)| kept.rows).sum());
        let count = units::grouped(whole.len() as u64);
        remarks.push(format!("{count} files are gone; all their {rows} rows were ingested before"));
    } else {
        remarks.extend(whole.iter().map(|(key, kept)| {
            let rows = units::grouped(kept.rows);
            format!("{} is gone; all its {rows} rows were ingested before", key.file)
        }));
    }
    remarks.extend(parts.iter().map(|(key, kept)| {
        let (rows, line) = (units::grouped(kept.rows), units::grouped(kept.next_line));
        format!(
            "{} is gone; {rows} rows were ingested before, those from line {line} on weren't:\n\
             put it back and run the same command again",
            key.file
        )
    }));
    remarks
}

impl KeptFile {
    /// What is kept of a file that is followed.
    pub(super) fn followed(
        key: ProgressKey,
        replaces: Option<ProgressKey>,
        progress: FileProgress,
    ) -> KeptFile {
        let rows_before = progress.rows;
        let (is_done, look, may_grow) = (false, None, true);
        KeptFile { key, replaces, progress, is_done, rows_before, look, may_grow }
    }
}

impl FeedFile<'_> {
    /// What a person is told of a file that isn't sent from its start.
    fn remark(&self) -> Option<String> {
        let kept = self.kept.as_ref()?;
        let (name, rows) = (self.file.path.display(), units::grouped(kept.rows_before));
        if kept.is_done {
            let before = &kept.progress.shape;
            let otherwise = match self.plan.is_shape_of(self.file, before) {
                true => String::new(),
                false => format!("; what is said otherwise now has no effect, they were {before}"),
            };
            return Some(format!("{name}: all its {rows} rows were ingested before{otherwise}"));
        }
        let (word, line) = (self.file.row_word(), units::grouped(kept.progress.next_line));
        self.goes_on().then(|| {
            format!("{name}: {rows} rows were ingested before; it goes on at {word} {line}")
        })
    }

    /// Whether some of its rows were sent before, and others are to be.
    pub(super) fn goes_on(&self) -> bool {
        let Some(kept) = &self.kept else { return false };
        self.source.is_some() && (kept.progress.bytes > 0 || kept.rows_before > 0)
    }

    /// That the file is still the one that was opened. One that may grow may have grown.
    pub(super) fn check_unchanged(&self) -> Outcome<()> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let Some(look) = kept.look else { return Ok(()) };
        let now = Look::at(&self.file.path)?;
        let has_grown = now.file_bytes >= look.file_bytes && kept.may_grow;
        if now == look || has_grown {
            return Ok(());
        }
        let name = self.file.path.display();
        let append =
            if self.file.can_grow() { "; --append goes on with what is added" } else { "" };
        Failure::new(Exit::BadInput, format!("{name} was written to while it was read"))
            .cause("what was sent since the last commit is taken back")
            .remedy(format!("run the same command again when it is whole{append}"))
            .err()
    }
}

pub(super) fn cannot_go_on(path: &Path, changed: &Changed) -> Failure {
    let (exit, remedy) = match changed {
        Changed::Cut { .. } | Changed::OtherFile { .. } => (Exit::BadInput, PUT_BACK),
        Changed::Grown { .. } => {
            (Exit::BadInput, "say --append to go on with what was added to its end")
        }
        Changed::Shape { .. } => {
            let remedy = "go on with the same options (a column that other files have too: say \
                          its type with --type),\nor begin anew: --job with another name";
            (Exit::Usage, remedy)
        }
        Changed::Topic { .. } => (Exit::Usage, "give each topic a --job of its own"),
        Changed::Unreadable { .. } => {
            (Exit::Failed, "begin anew under another --job, or `streamledger jobs reset` this one")
        }
    };
    Failure::new(exit, format!("{} {changed}", path.display())).remedy(remedy)
}

pub(super) fn isnt_the_same(path: &Path, fault: ResumeFault) -> Failure {
    if let ResumeFault::Io(error) = fault {
        return file::failed_at(path, ReadFault::Io(error));
    }
    Failure::new(Exit::BadInput, format!("{} {fault}", path.display())).remedy(PUT_BACK)
}

const PUT_BACK: &str = "put the file back as it was; or, for a new file under an old name, begin \
                        anew:\n--job with another name (what was sent before stays in the topic)";
