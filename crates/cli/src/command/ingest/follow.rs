//! `--follow`: a file that is being written is read on as it grows, and through its rotation.
//!
//! Which file is read on is told by what was read of it, never by its name: what is kept beside the
//! rows says how many of the first bytes were read, what they hash to, and what the file before it
//! began with (see [`crate::input::rotation`]). So of a run that is killed in the middle of a
//! rotation the next one finds the same file, renamed, copied or compressed meanwhile.
//!
//! Laws: a row is whole once its line end is there, or the file is over; a file is over when
//! another is in its place that has bytes, and for `QUIET` nothing was added to it, or when that
//! other one was rotated too; that the next file is begun is committed with the last rows of the
//! one before, and before any of its own; what may have been lost ends the run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::IngestArguments;
use super::feed::{Feed, FeedEnd, RowsEnd, known};
use super::prepare::{self, Destination, FeedFile, KeptFile};
use super::transactions::Transactions;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::input::followed::{OpenGeneration, has_begun};
use crate::input::planned::PlannedFile;
use crate::input::rotation::{self, Beginning, Behind, LastRead, Whereabouts};
use crate::input::tail::{FileIdentity, Tail, TailState};
use crate::input::{InputOptions, InputPlan, Position, ReadFault, RecordSource, discovery, file};
use crate::interrupt::Interrupt;
use crate::job::{FileProgress, OLDER_MAX, ProgressKey, Rotation, Stance, stance};
use crate::ui::{self, units};

/// How often it is looked for more rows, another file and Ctrl-C.
const LOOK: Duration = Duration::from_millis(50);

/// How long nothing was added to a file, with another in its place, until it is over: who writes
/// may hold the old one a little longer.
const QUIET: Duration = Duration::from_secs(1);

/// After this long a person is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The file of a log that is read.
#[derive(Debug)]
pub(super) struct Followed {
    /// The log's path, under which the newest of its files is.
    log: PathBuf,
    /// None of one that is compressed: it doesn't grow.
    tail: Option<Tail>,
    identity: FileIdentity,
    /// Since when another is in its place and nothing was added to it.
    quiet_since: Option<Instant>,
    /// The one before, as long as it may be written to by mistake.
    before: Option<Tail>,
}

/// What comes after a file of a log.
#[derive(Debug)]
pub(super) enum NextGeneration {
    /// Another one.
    Opened(Box<dyn RecordSource>),
    /// A signal, while it was waited for; all is committed.
    Stopped,
    /// None: the rows didn't end there.
    None,
}

/// What a look at a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There is more to read.
    More,
    /// It has no more yet.
    Wait,
    /// It has no more for good.
    Over,
    /// It was cut.
    Cut,
}

/// Waits until the file that is to be followed is there, with its header; false after Ctrl-C.
pub(super) fn await_beginning(
    arguments: &IngestArguments,
    options: &InputOptions,
    interrupt: &Interrupt,
) -> Outcome<bool> {
    let Some((log, others)) = arguments.files.split_last() else { return Ok(true) };
    let refused = |cause: String, remedy: &str| {
        Failure::new(Exit::Usage, format!("{} can't be followed", log.display()))
            .cause(cause)
            .remedy(remedy)
    };
    if !discovery::is_one_file(log) {
        let cause = "--follow is for one file that grows, the last that is named".to_owned();
        return refused(cause, "name that file last").err();
    }
    if let Some(rotated) = others.iter().find(|other| rotation::is_rotated(other, log)) {
        let cause = format!("{} is one of its rotated files, which are found", rotated.display());
        return refused(cause, "leave it out, or send it before under a --job of its own").err();
    }
    let begun = Instant::now();
    let mut was_told = false;
    while !has_begun(log, options)? {
        if interrupt.is_raised() {
            return Ok(false);
        }
        if begun.elapsed() > PATIENCE && !was_told {
            was_told = true;
            ui::say(format_args!("waiting for {} to be there with its first line", log.display()));
        }
        thread::sleep(LOOK);
    }
    Ok(true)
}

/// The file that is followed, where the run before it ended. None after Ctrl-C.
pub(super) fn prepare<'a>(
    plan: &'a InputPlan,
    file: &'a PlannedFile,
    to: Destination<'_>,
    progress: &BTreeMap<ProgressKey, FileProgress>,
    interrupt: &Interrupt,
) -> Outcome<Option<FeedFile<'a>>> {
    file.check_can_be_followed()?;
    let (key, shape) = (to.key(file), plan.shape(file));
    let kept = prepare::kept_of(&key, progress);
    let (kept, replaces) = kept.map_or((None, None), |(kept, text)| (Some(kept), text));
    let now = crate::job::FileNow {
        topic: to.topic,
        topic_id: to.topic_id,
        shape: &shape,
        // How long the file is says nothing: it may be another one by now.
        file_bytes: u64::MAX,
        may_grow: true,
        can_grow: true,
    };
    let found =
        stance(kept, &now).map_err(|changed| prepare::cannot_go_on(&file.path, &changed))?;
    let (mut progress, position) = match (kept, found) {
        (Some(kept), Stance::Resume(position) | Stance::Done(position)) => {
            (kept.clone(), Some(position))
        }
        _ => (FileProgress::start(to.topic, to.topic_id, &shape, None), None),
    };
    if position.is_none() {
        let rotation = progress.rotation.insert(Rotation::default());
        rotation.set_behind(&rotated(&file.path)?);
    }
    (progress.complete, progress.partitions) = (false, Some(to.partitions));
    let Some(opened) = open_kept(plan, file, &progress, position, interrupt)? else {
        return Ok(None);
    };
    let mut source = opened.source;
    if let Some(position) = position.filter(|position| position.place.bytes > 0) {
        source.resume(&position).map_err(|fault| prepare::isnt_the_same(&file.path, fault))?;
    }
    let followed = Followed {
        log: file.path.clone(),
        tail: opened.tail,
        identity: opened.identity,
        quiet_since: None,
        before: None,
    };
    let kept = Some(KeptFile::followed(key, replaces, progress));
    Ok(Some(FeedFile { plan, file, source: Some(source), kept, followed: Some(followed) }))
}

/// The rotated files that are there before a row is read, so that those after them are told from
/// them.
fn rotated(log: &Path) -> Outcome<Behind> {
    let failed = |error| unreadable(log, error);
    let mut generations = rotation::generations(log).map_err(failed)?;
    generations.retain(|generation| generation.path != log);
    let mut behind = Behind::default();
    for generation in generations.iter().rev() {
        if behind.beginnings.len() > OLDER_MAX {
            behind.has_more = true;
            break;
        }
        behind.beginnings.extend(Beginning::of(&generation.path).map_err(failed)?);
    }
    Ok(behind)
}

/// The file that was read last, wherever it is now.
fn open_kept(
    plan: &InputPlan,
    file: &PlannedFile,
    kept: &FileProgress,
    position: Option<Position>,
    interrupt: &Interrupt,
) -> Outcome<Option<OpenGeneration>> {
    let last = position.map(|position| LastRead {
        read: beginning(&position),
        has_row: kept.has_row(),
        behind: kept.behind(),
    });
    while !interrupt.is_raised() {
        let Some(last) = &last else {
            if let Some(opened) = plan.open_generation(file, &file.path)? {
                return Ok(Some(opened));
            }
            thread::sleep(LOOK);
            continue;
        };
        match rotation::find(&file.path, last).map_err(|error| unreadable(&file.path, error))? {
            Whereabouts::Here(generation) => {
                let opened = plan.open_generation(file, &generation.path)?;
                // Of a name that another file has by now it is looked again.
                let is_meant = |opened: &OpenGeneration| opened.identity == generation.identity;
                if let Some(opened) = opened.filter(is_meant) {
                    return Ok(Some(opened));
                }
            }
            Whereabouts::NotYet => {}
            Whereabouts::Gone => return Err(lost(file, kept).into()),
        }
        thread::sleep(LOOK);
    }
    Ok(None)
}

fn lost(file: &PlannedFile, kept: &FileProgress) -> Failure {
    let name = file.path.display();
    let what = format!("what was ingested of {name} is in none of its files any more");
    let line = units::grouped(kept.next_line);
    Failure::new(Exit::BadInput, what)
        .cause(format!("rows from line {line} on of the file that was read may be lost"))
        .remedy(format!(
            "put that file back as it was, as {name}.1 or the like;\n\
             or begin anew with what is there: `streamledger jobs reset {} --file {name}`",
            kept.topic
        ))
}

fn unreadable(path: &Path, error: io::Error) -> Failure {
    file::failed_at(path, ReadFault::Io(error))
}

fn beginning(position: &Position) -> Beginning {
    Beginning { bytes: position.place.bytes, hash: position.hash }
}

impl Followed {
    fn begin(&mut self, opened: &OpenGeneration, before: Option<Tail>) {
        (self.tail, self.identity) = (opened.tail.clone(), opened.identity);
        (self.quiet_since, self.before) = (None, before);
    }

    /// How long it was when it was looked at last, if it isn't compressed.
    pub(super) fn seen_bytes(&self, read_bytes: u64) -> u64 {
        self.tail.as_ref().map_or(read_bytes, Tail::read_bytes)
    }

    fn look(&mut self) -> io::Result<Look> {
        let Some(tail) = &self.tail else { return Ok(Look::Over) };
        let state = tail.state()?;
        let quiet_since = self.quiet_since.take();
        match state {
            TailState::Longer => return Ok(Look::More),
            TailState::Cut => return Ok(Look::Cut),
            TailState::Same if !tail.has_moved_from(&self.log)? => return Ok(Look::Wait),
            TailState::Same => {}
        }
        let Some(next) = rotation::later(&self.log, self.identity)? else {
            return Ok(Look::Wait);
        };
        if next.path != self.log {
            return Ok(Look::Over);
        }
        if !fs::metadata(&next.path).is_ok_and(|metadata| metadata.len() > 0) {
            return Ok(Look::Wait);
        }
        let since = quiet_since.unwrap_or_else(Instant::now);
        self.quiet_since = Some(since);
        Ok(if since.elapsed() >= QUIET { Look::Over } else { Look::Wait })
    }

    /// That nothing was added to the file before this one after it was over.
    fn check_before(&self) -> Outcome<()> {
        let Some(before) = &self.before else { return Ok(()) };
        if before.state().map_err(|error| unreadable(&self.log, error))? != TailState::Longer {
            return Ok(());
        }
        let name = self.log.display();
        let what = format!("the file before {name} was written to after {name} was begun");
        let bytes = units::grouped(before.read_bytes());
        Failure::new(Exit::BadInput, what)
            .cause(format!("what was added behind its byte {bytes} wasn't read"))
            .remedy(
                "have the writer open the new file when the old one is rotated; send those rows \
                 by hand,\nand run the same command again: it goes on in the new file",
            )
            .err()
    }
}

impl Feed<'_> {
    /// Commits that a file that is followed was begun, before its first row: until then nothing
    /// says which file it is.
    pub(super) fn keep_beginning(&mut self, file: &FeedFile<'_>) -> Outcome<()> {
        let is_new = file.kept.as_ref().is_some_and(|kept| kept.progress.bytes == 0);
        if file.followed.is_some() && is_new { self.commit(Some(file)) } else { Ok(()) }
    }

    /// At what is the end of a file for now: waits until there is more; why its rows end, if they
    /// do.
    pub(super) fn await_rows(
        &mut self,
        file: &mut FeedFile<'_>,
        source: &mut dyn RecordSource,
    ) -> Outcome<Option<RowsEnd>> {
        loop {
            self.tell_how_far(source.read_bytes());
            if self.interrupt.is_raised() {
                return Ok(Some(RowsEnd::Between(FeedEnd::Stopped)));
            }
            if self.ledger.has_failed() {
                return Ok(Some(RowsEnd::BatchFailed));
            }
            if self.transactions.as_ref().is_some_and(Transactions::is_due) {
                self.commit_at(file, source)?;
            }
            let Some(followed) = &mut file.followed else { return Ok(Some(RowsEnd::AtEnd)) };
            followed.check_before()?;
            match followed.look().map_err(|error| unreadable(&followed.log, error))? {
                Look::More => return Ok(None),
                Look::Cut => return Ok(Some(RowsEnd::Cut)),
                Look::Over => {
                    if let Some(tail) = &followed.tail {
                        tail.end();
                    }
                    return Ok(None);
                }
                Look::Wait => thread::sleep(LOOK),
            }
        }
    }

    /// Goes on with the file that comes after the one whose rows ended.
    pub(super) fn next_generation(
        &mut self,
        file: &mut FeedFile<'_>,
        source: &mut dyn RecordSource,
        end: &RowsEnd,
    ) -> Outcome<NextGeneration> {
        if file.followed.is_none() || !matches!(end, RowsEnd::AtEnd | RowsEnd::Cut) {
            return Ok(NextGeneration::None);
        }
        let position = known(file.file, source.position())?;
        if matches!(end, RowsEnd::Cut) {
            return self.after_cut(file, position);
        }
        let read = beginning(&position);
        if let Some(kept) = &mut file.kept {
            kept.progress.begin_next_file(&read);
        }
        self.open_next(file, Some(&read))
    }

    /// Goes on in the copy that was made of a file before it was cut; without one at its start, if
    /// nothing of it was seen that wasn't read.
    fn after_cut(
        &mut self,
        file: &mut FeedFile<'_>,
        position: Position,
    ) -> Outcome<NextGeneration> {
        let Some(followed) = &mut file.followed else { return Ok(NextGeneration::None) };
        let log = followed.log.clone();
        let read = beginning(&position);
        let copy = rotation::find_copy(&log, &read).map_err(|error| unreadable(&log, error))?;
        if let Some(copy) = copy
            && let Some(mut opened) = file.plan.open_generation(file.file, &copy.path)?
        {
            if read.bytes > 0 {
                let resumed = opened.source.resume(&position);
                resumed.map_err(|fault| prepare::isnt_the_same(&copy.path, fault))?;
            }
            followed.begin(&opened, None);
            return Ok(NextGeneration::Opened(opened.source));
        }
        let seen_bytes = followed.seen_bytes(read.bytes);
        let name = log.display();
        if seen_bytes > read.bytes {
            let what = format!("{name} was cut, and no copy of what it held is there");
            let line = units::grouped(position.place.next_line);
            let bytes = units::grouped(seen_bytes - read.bytes);
            return Failure::new(Exit::BadInput, what)
                .cause(format!("the {bytes} bytes of its line {line}, which had no end, are lost"))
                .remedy(
                    "begin anew with what is there: `streamledger jobs reset`, and run the same \
                     command again",
                )
                .err();
        }
        self.observer.say(&format!(
            "{name} was cut, and no copy is there: all {} bytes that were seen of it were read; it \
             begins anew",
            units::grouped(read.bytes)
        ));
        let behind = rotated(&log)?;
        if let Some(kept) = &mut file.kept {
            kept.progress.begin_next_file(&read);
            kept.progress.rotation.get_or_insert_default().set_behind(&behind);
        }
        self.open_next(file, None)
    }

    /// Waits for the file after the one that was `read`, or for the log's own from its start, and
    /// commits that it is begun, with the last rows of the one before.
    fn open_next(
        &mut self,
        file: &mut FeedFile<'_>,
        read: Option<&Beginning>,
    ) -> Outcome<NextGeneration> {
        let behind = file.kept.as_ref().map(|kept| kept.progress.behind()).unwrap_or_default();
        loop {
            if self.interrupt.is_raised() {
                self.commit(Some(file))?;
                return Ok(NextGeneration::Stopped);
            }
            if let Some(failure) = self.transactions.as_ref().and_then(Transactions::not_delivered)
            {
                return Err(failure);
            }
            let Some(followed) = &mut file.followed else { return Ok(NextGeneration::None) };
            let log = &followed.log;
            let next = match read {
                None => Some((log.clone(), None)),
                Some(read) => rotation::next(log, followed.identity, read, &behind)
                    .map_err(|error| unreadable(log, error))?
                    .map(|next| (next.path, Some(next.identity))),
            };
            if let Some((path, identity)) = next
                && let Some(opened) = file.plan.open_generation(file.file, &path)?
                && identity.is_none_or(|identity| identity == opened.identity)
            {
                let before = followed.tail.take().filter(|_| identity.is_some());
                followed.begin(&opened, before);
                self.commit(Some(file))?;
                return Ok(NextGeneration::Opened(opened.source));
            }
            if self.transactions.as_ref().is_some_and(Transactions::is_due) {
                self.commit(Some(file))?;
            }
            thread::sleep(LOOK);
        }
    }
}
