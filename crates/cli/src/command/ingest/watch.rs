//! `--watch`: files that come into directories are sent once they are whole.
//!
//! Laws: what a run without `--watch` does about a file is done about each, by the same code; a
//! file that was ingested whole isn't opened again until it changes; nothing is open in a
//! transaction while files are waited for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::thread;
use std::time::{Duration, Instant};

use streamledger::Properties;

use super::IngestArguments;
use super::feed::{Feed, FeedEnd};
use super::prepare::{self, Destination};
use super::transactions::Transactions;
use crate::access::Access;
use crate::failure::Outcome;
use crate::input::arrivals::{Arrivals, Arrived, DoneBefore, Scan, TakenBefore};
use crate::input::timed::TopicTimes;
use crate::input::{InputOptions, InputPlan};
use crate::interrupt::Interrupt;
use crate::job::{self, FileProgress, ProgressKey};
use crate::registry::{Registering, RegistryArguments};
use crate::topic_access::FoundTopic;
use crate::ui::units;

/// How often it is looked for Ctrl-C and failed batches.
const LOOK: Duration = Duration::from_millis(50);

/// How often the directories are listed, at most.
const BETWEEN_SCANS: Duration = Duration::from_millis(500);

/// Of the time no more than one part of so many goes into listing.
const SCAN_SHARE: u32 = 20;

/// So many files are looked at together, however many are there.
const TOGETHER_MAX: usize = 100;

/// So many different sets of columns and types are remembered.
const SHAPES_MAX: usize = 100;

/// Files that come, and what is kept of them.
#[derive(Debug)]
pub(super) struct Watched<'a> {
    arrivals: Arrivals,
    to: Destination<'a>,
    options: InputOptions,
    registry: &'a RegistryArguments,
    partition_count: i32,
    times: TopicTimes,
    /// What is kept of files that aren't known by their look alone.
    kept: BTreeMap<ProgressKey, FileProgress>,
    /// As what the files so far became records.
    shapes: BTreeSet<String>,
    access: &'a Access,
    properties: Properties,
    is_quiet: bool,
}

impl<'a> Watched<'a> {
    /// Before the first look. Of what is kept, that of files that were ingested whole and are known
    /// by their look is dropped but for that.
    pub(super) fn new(
        arguments: &'a IngestArguments,
        to: Destination<'a>,
        topic: &FoundTopic,
        progress: BTreeMap<ProgressKey, FileProgress>,
        access: &'a Access,
        properties: Properties,
        options: InputOptions,
    ) -> Watched<'a> {
        let mut done = HashMap::new();
        let mut kept = BTreeMap::new();
        let mut shapes = BTreeSet::new();
        for (key, progress) in progress.into_iter().filter(|(key, _)| key.job == to.job) {
            let has_topic = progress.topic == to.topic
                && (progress.topic_id == to.topic_id || progress.topic_id.is_empty());
            match progress.changed_ns {
                Some(changed_ns) if progress.complete && has_topic => {
                    let FileProgress { file_bytes: bytes, rows, rejected, shape, .. } = progress;
                    done.insert(key.path(), DoneBefore { bytes, changed_ns, rows, rejected });
                    remember(&mut shapes, shape);
                }
                _ => drop(kept.insert(key, progress)),
            }
        }
        let is_recursive = arguments.input.recursive;
        let settle = Duration::from_millis(arguments.settle_ms);
        Watched {
            arrivals: Arrivals::new(&arguments.files, is_recursive, settle, done),
            to,
            options,
            registry: &arguments.registry,
            partition_count: topic.partitions,
            times: topic.times,
            kept,
            shapes,
            access,
            properties,
            is_quiet: arguments.quiet,
        }
    }

    /// Those of some files that are still there and have rows to be, as what they hold says.
    fn plan(&self, files: &[Arrived]) -> Outcome<InputPlan> {
        let paths = files.iter().map(|file| file.path.clone());
        let mut plan = InputPlan::of_arrived(paths, self.options.clone())?;
        plan.set_partition_count(self.partition_count);
        plan.set_times(self.times);
        for shape in &self.shapes {
            plan.widen_types(shape);
        }
        prepare::keep_types(&mut plan, self.to, &self.kept);
        self.registry.assign_ids(self.to.topic, &mut plan, Registering::Wanted, |_| true)?;
        Ok(plan)
    }

    /// Reads anew what is kept of files that were taken and have changed. False after Ctrl-C.
    fn read_kept(&mut self, files: &[Arrived], interrupt: &Interrupt) -> Outcome<bool> {
        if files.iter().all(|file| file.before == TakenBefore::Never) {
            return Ok(true);
        }
        let Some(mut all) = job::read(self.access, &self.properties, interrupt)? else {
            return Ok(false);
        };
        for file in files {
            let key = ProgressKey::of(self.to.job, &file.real);
            if let Some(progress) = all.remove(&key) {
                self.kept.insert(key, progress);
            }
        }
        Ok(true)
    }
}

fn remember(shapes: &mut BTreeSet<String>, shape: String) {
    if shapes.len() < SHAPES_MAX {
        shapes.insert(shape);
    }
}

impl Feed<'_> {
    /// Sends files as they come, until a signal or the limit.
    pub(super) fn watch(&mut self, mut watched: Watched<'_>) -> Outcome<FeedEnd> {
        loop {
            let begun = Instant::now();
            let scan = watched.arrivals.scan(begun)?;
            let next = begun + BETWEEN_SCANS.max(begun.elapsed() * SCAN_SHARE);
            self.tell_of_scan(&scan);
            for files in scan.arrived.chunks(TOGETHER_MAX) {
                let end = self.send_arrived(&mut watched, files)?;
                if end != FeedEnd::Complete || self.fed.sent >= self.limit {
                    return Ok(end);
                }
            }
            if !self.rest_until(next)? {
                return Ok(FeedEnd::Stopped);
            }
        }
    }

    fn tell_of_scan(&mut self, scan: &Scan) {
        for (path, done) in &scan.known {
            self.tell_of_known(path, done);
        }
        if let Some(display) = self.observer.display() {
            let waiting = scan.arrived.len() as u64;
            display.remark(match scan.settling_count {
                0 if waiting == 0 => "waits for files".to_owned(),
                0 => format!("{} waiting", units::grouped(waiting)),
                count => format!("{} may still be written", units::counted(count, "file")),
            });
        }
    }

    /// Sends files that are whole, each from where it is to go on.
    fn send_arrived(&mut self, watched: &mut Watched<'_>, files: &[Arrived]) -> Outcome<FeedEnd> {
        if !watched.read_kept(files, self.interrupt)? {
            return Ok(FeedEnd::Stopped);
        }
        let plan = match watched.plan(files) {
            Ok(plan) => plan,
            // One went away since the look at the directory: the next look tells which.
            Err(_) if files.iter().any(|file| !file.path.exists()) => return Ok(FeedEnd::Complete),
            Err(failure) => return Err(failure),
        };
        let looks: HashMap<_, _> = files.iter().map(|file| (&file.path, file.look)).collect();
        let told: HashSet<_> = (files.iter())
            .filter(|file| file.before == TakenBefore::ByThisRun)
            .map(|file| &file.path)
            .collect();
        let mut prepared = prepare::after_progress(&plan, watched.to, &watched.kept)?;
        for file in &mut prepared {
            let Some(kept) = &mut file.kept else { continue };
            kept.progress.changed_ns = looks.get(&file.file.path).map(|look| look.changed_ns);
            if let (true, Some(transactions)) = (kept.is_done, &mut self.transactions) {
                // It is known by its look from now on.
                transactions.file_ended(kept.key.clone(), kept.progress.clone());
            }
        }
        // Told by this run already: its look changed, and nothing was added.
        prepared.retain(|file| {
            let is_done = file.kept.as_ref().is_some_and(|kept| kept.is_done);
            !(is_done && told.contains(&file.file.path))
        });
        if !watched.is_quiet {
            for remark in plan.remarks().into_iter().chain(prepare::remarks(&prepared)) {
                self.observer.say(&format!("note: {remark}"));
            }
        }
        let end = self.run(prepared)?;
        if end == FeedEnd::Complete && self.fed.sent < self.limit {
            for file in &plan.files {
                remember(&mut watched.shapes, plan.shape(file));
            }
            for file in files {
                watched.kept.remove(&ProgressKey::of(watched.to.job, &file.real));
                watched.arrivals.take(file);
            }
        }
        Ok(end)
    }

    /// Waits until it is time to look again; false after a signal.
    fn rest_until(&mut self, next: Instant) -> Outcome<bool> {
        loop {
            if self.interrupt.is_raised() {
                return Ok(false);
            }
            if let Some(failure) = self.transactions.as_ref().and_then(Transactions::not_delivered)
            {
                return Err(failure);
            }
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(true);
            }
            thread::sleep(left.min(LOOK));
        }
    }
}
